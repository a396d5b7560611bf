import subprocess
import sys

from osum.tasks import EMOTIONS, GENDERS
from osum.tasks.prompt_bank import fill, packaged_languages, packaged_prompts


def test_a_prompt_is_filled_in_the_manner_of_its_language():
    assert fill("{gender} {age}", (GENDERS, EMOTIONS), "en") == "female, male {age}"
    assert fill("{gender}", (GENDERS,), "zh") == "female、male"


def test_the_release_prompts_are_verbatim():
    prompts = packaged_prompts("release", "zh")
    assert len(prompts) == 18
    assert (
        prompts["<AGE>"][1]
        == "请更具如下音频中说话者的声音判断其性别，并直接给出<年龄>标签，标明是child、adult还是old。"
    )
    assert not any("{" in prompt for variants in prompts.values() for prompt in variants)


def test_prompt_sets_know_their_languages():
    assert packaged_languages("osum") == ("en", "zh")
    assert packaged_languages("release") == packaged_languages("echat") == ("zh",)
    assert packaged_prompts("release", "fr") == {}


def test_importing_tasks_reads_no_prompts():
    code = "import sys, osum.tasks; sys.exit(any(name in sys.modules for name in ('yaml', 'numpy', 'torch')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
