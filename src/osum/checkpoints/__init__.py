"""What a model folder is: its file names, how it is found and opened, and conversion in and out."""
