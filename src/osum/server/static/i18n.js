// Words of the page in English and Chinese. `{name}` in a text is filled in.

const EN = {
  skip: "Skip to content", views: "Views", model: "Model", theme: "Light or dark", cancel: "Cancel", close: "Close",
  language: "Show this page in Chinese",
  "tab.label": "Label", "tab.compare": "Compare", "tab.talk": "Talk", "tab.review": "Review",
  "label.title": "What is in this recording?",
  "label.lead": "Words and when they are said, vocal events, emotion, style, gender, age, language, and a reply.",
  "drop.here": "Drop a recording here", "drop.choose": "Choose a file", "drop.other": "Another recording",
  "drop.local": "wav, flac, mp3, ogg and more. Answered on this computer; nothing is sent elsewhere.",
  "drop.remote": "wav, flac, mp3, ogg and more. Answered by {host}.",
  record: "Record", "record.title": "Recording", "record.stop": "Stop",
  "record.refused": "The microphone cannot be used ({why}). Allow it in the browser, or choose a file.",
  "asked.title": "What to ask", "asked.again": "Ask again", "asked.note": "Fewer questions are answered sooner. Answers do not depend on each other.",
  working: "{model} is listening …", stopped: "Stopped.", ready: "{name} is answered: {count} labels.",
  play: "Play", pause: "Pause", speed: "Speed", zoom: "Zoom", time: "Time",
  waveform: "Waveform and labels; arrow keys scroll", lanes: "Labels over time",
  words: "words", transcript: "Transcript", "transcript.note": "Click a word to play it. The stronger its colour, the surer the model; a dotted line marks a time that was not measured.",
  "transcript.none": "No speech was found.", "transcript.off": "No transcript was asked for.", reply: "Reply", "reply.none": "No reply.",
  answers: "Answers", part: "Part {at} of {count}", "part.next": "Next part", "part.before": "Part before",
  prompt: "Prompt", raw: "Raw answer", problems: "Problems", empty: "(empty)",
  "evidence.synthetic": "learned from synthetic speech alone", "evidence.none": "never learned", real: "",
  "no.label": "no answer", "ask.title": "Ask anything", "ask.field": "A question of your own, about this recording", "ask.run": "Ask",
  "ask.answer": "Answer", "ask.empty": "The model answered with nothing.",
  download: "Download", "download.as": "Download as {name}",
  "compare.title": "Two models, one recording", "compare.first": "First model", "compare.second": "Second model", "compare.run": "Compare",
  "compare.need": "First drop or record something under Label.", "compare.one": "This server has one model. Start it with --model A=FOLDER --model B=FOLDER to compare two.",
  "compare.verdict": "The same or not", "compare.same": "the same", "compare.differs": "differs", "compare.agree": "{same} of {count} labels are the same.", "compare.task": "Task",
  "talk.title": "Talk", "talk.say": "Say something", "talk.speak": "Speak", "talk.send": "Send", "talk.turns": "Conversation",
  "talk.thinking": "Thinking", "talk.off": "off", "talk.tag": "names the cues", "talk.language": "in sentences", "talk.clear": "Begin anew",
  "talk.dialogue": "{model} holds a conversation: it remembers what was said before.",
  "talk.clips": "{model} is no dialogue model. It replies to each recorded turn by itself, and recognises who speaks and how.",
  "talk.typed": "{model} answers recorded turns alone: press Speak.", "talk.you": "You", "talk.thought": "Thought", "talk.cues": "Cues", "talk.silent": "(no reply)",
  "live.start": "Talk live", "live.end": "End the talk", "live.off": "By voice, without pressing anything: speak, and interrupt when you like.", "live.connecting": "Connecting …",
  "live.listening": "Listening", "live.hearing": "You speak", "live.thinking": "Thinking", "live.speaking": "Speaking: interrupt by voice or Esc", "live.interrupt": "Interrupt",
  "live.lost": "The connection to the server is lost: begin again.", "live.rate": "this browser records at no rate that the server takes", "live.cut": "was not played",
  "talk.spoken": "spoken turn", "talk.cut": "The answer was cut at its limit.",
  "review.title": "Review", "review.count": "{reviewed} of {count} rows reviewed", "review.field": "Labels to review", "review.all": "all labels", "review.text": "transcript",
  "review.label": "Only label", "review.any": "any", "review.state": "Rows", "review.state.all": "all", "review.state.open": "not yet reviewed", "review.state.reviewed": "reviewed",
  "review.state.corrected": "corrected", "review.state.disagree": "model disagrees", "review.sort": "Order", "review.sort.doubt": "most doubtful first", "review.sort.file": "as in the file",
  "review.words": "Find", "review.by": "Your name", "review.needname": "Give your name first: it is written next to each correction.",
  "review.ask": "Ask {model} about {count} rows", "review.asking": "{done} of {count} rows answered", "review.stop": "Stop",
  "review.export": "Export reviewed", "review.exported": "{count} rows in {path}", "review.none": "No row fits.", "review.more": "Show more", "review.rows": "Rows",
  "review.agreement": "Agreement with the model", "review.agree": "{agree} of {count}, {low} to {high}", "review.noagree": "No row has both a person's label and an answer of the model yet.",
  "review.confused": "{person} recognised as {model}, {count} times", "review.text.title": "Transcript", "review.model.text": "Model", "review.use": "Use the model's",
  "review.unknown": "not known", "review.confirm": "Confirm and next", "review.saved": "Saved.", "review.confirmed": "Confirmed {id}.", "review.corrected": "Corrected {id}.",
  "review.stale": "Somebody else has changed this row. Look at it again.", "review.undone": "Taken back: {id}.", "review.nothing": "Nothing to take back.",
  "review.doubt": "doubt {share}", "review.old": "{field}: {old} became {new}, by {by}, {at}", "review.history": "Corrections", "review.autoplay": "Play each row",
  "review.shortcuts": "Keyboard shortcuts", "review.broken": "{count} lines of the file are no rows.", "review.end": "That was the last row.",
  "keys.title": "Keyboard", "keys.next": "next row, row before", "keys.play": "play or pause", "keys.digits": "choose a label of the marked group", "keys.zero": "not known",
  "keys.group": "other group of labels", "keys.enter": "confirm what is shown, save it, next row", "keys.edit": "edit the transcript; Esc leaves it", "keys.model": "take the model's transcript", "keys.undo": "take the last one back", "keys.help": "this list",
  "key.title": "This server asks for a key", "key.label": "API key", "key.use": "Use it",
};

const ZH = {
  skip: "跳到正文", views: "页面", model: "模型", theme: "浅色或深色", cancel: "取消", close: "关闭",
  language: "Show this page in English",
  "tab.label": "标注", "tab.compare": "对比", "tab.talk": "对话", "tab.review": "校对",
  "label.title": "这段录音里有什么？",
  "label.lead": "文字及其时间、声音事件、情感、风格、性别、年龄、语种，以及回复。",
  "drop.here": "把录音拖到这里", "drop.choose": "选择文件", "drop.other": "换一段录音",
  "drop.local": "支持 wav、flac、mp3、ogg 等。在本机处理，不会发送到别处。",
  "drop.remote": "支持 wav、flac、mp3、ogg 等。由 {host} 处理。",
  record: "录音", "record.title": "正在录音", "record.stop": "停止",
  "record.refused": "无法使用麦克风（{why}）。请在浏览器中允许，或选择文件。",
  "asked.title": "提问内容", "asked.again": "重新提问", "asked.note": "问题越少，回答越快。各项回答互不影响。",
  working: "{model} 正在听……", stopped: "已停止。", ready: "{name} 已完成：{count} 个标签。",
  play: "播放", pause: "暂停", speed: "速度", zoom: "缩放", time: "时间",
  waveform: "波形与标签；用方向键滚动", lanes: "随时间的标签",
  words: "文字", transcript: "转写", "transcript.note": "点击文字即可播放。颜色越深，模型越确定；虚线表示时间未经测量。",
  "transcript.none": "没有检测到语音。", "transcript.off": "没有要求转写。", reply: "回复", "reply.none": "没有回复。",
  answers: "回答", part: "第 {at} 段，共 {count} 段", "part.next": "下一段", "part.before": "上一段",
  prompt: "提示词", raw: "原始回答", problems: "问题", empty: "（空）",
  "evidence.synthetic": "只从合成语音学得", "evidence.none": "未曾学习", real: "",
  "no.label": "无回答", "ask.title": "自由提问", "ask.field": "关于这段录音的任何问题", "ask.run": "提问",
  "ask.answer": "回答", "ask.empty": "模型的回答为空。",
  download: "下载", "download.as": "下载为 {name}",
  "compare.title": "两个模型，一段录音", "compare.first": "第一个模型", "compare.second": "第二个模型", "compare.run": "对比",
  "compare.need": "请先在“标注”中放入或录制一段录音。", "compare.one": "此服务只有一个模型。用 --model A=目录 --model B=目录 启动即可对比。",
  "compare.verdict": "是否相同", "compare.same": "相同", "compare.differs": "不同", "compare.agree": "{count} 个标签中有 {same} 个相同。", "compare.task": "任务",
  "talk.title": "对话", "talk.say": "说点什么", "talk.speak": "说话", "talk.send": "发送", "talk.turns": "对话内容",
  "talk.thinking": "思考", "talk.off": "关", "talk.tag": "列出线索", "talk.language": "用句子", "talk.clear": "重新开始",
  "talk.dialogue": "{model} 可以多轮对话，会记住之前说过的话。",
  "talk.clips": "{model} 不是对话模型。它逐句回复录音，并识别说话人及其语气。",
  "talk.typed": "{model} 只回答录音：请按“说话”。", "talk.you": "你", "talk.thought": "思考", "talk.cues": "线索", "talk.silent": "（没有回复）",
  "live.start": "实时对话", "live.end": "结束对话", "live.off": "直接用语音对话：随时开口，随时打断。", "live.connecting": "正在连接…",
  "live.listening": "在听", "live.hearing": "你在说话", "live.thinking": "思考中", "live.speaking": "正在回答：开口或按 Esc 打断", "live.interrupt": "打断",
  "live.lost": "与服务器的连接已断开：请重新开始。", "live.rate": "此浏览器的录音采样率不受支持", "live.cut": "未播放",
  "talk.spoken": "语音", "talk.cut": "回答达到长度上限而中止。",
  "review.title": "校对", "review.count": "已校对 {reviewed} / {count} 行", "review.field": "校对内容", "review.all": "所有标签", "review.text": "转写",
  "review.label": "只看标签", "review.any": "不限", "review.state": "范围", "review.state.all": "全部", "review.state.open": "尚未校对", "review.state.reviewed": "已校对",
  "review.state.corrected": "已更正", "review.state.disagree": "与模型不一致", "review.sort": "顺序", "review.sort.doubt": "最可疑的在前", "review.sort.file": "按文件顺序",
  "review.words": "查找", "review.by": "你的名字", "review.needname": "请先填写名字：它会写在每条更正旁。",
  "review.ask": "让 {model} 回答 {count} 行", "review.asking": "已回答 {done} / {count} 行", "review.stop": "停止",
  "review.export": "导出已校对", "review.exported": "{count} 行，写入 {path}", "review.none": "没有符合的行。", "review.more": "显示更多", "review.rows": "行",
  "review.agreement": "与模型的一致程度", "review.agree": "{count} 中 {agree}，区间 {low} 至 {high}", "review.noagree": "还没有哪一行既有人工标签又有模型回答。",
  "review.confused": "{person} 被识别为 {model}，{count} 次", "review.text.title": "转写", "review.model.text": "模型", "review.use": "采用模型的",
  "review.unknown": "未知", "review.confirm": "确认并继续", "review.saved": "已保存。", "review.confirmed": "已确认 {id}。", "review.corrected": "已更正 {id}。",
  "review.stale": "别人改动了这一行，请重新查看。", "review.undone": "已撤销：{id}。", "review.nothing": "没有可撤销的。",
  "review.doubt": "疑度 {share}", "review.old": "{field}：{old} 改为 {new}，{by}，{at}", "review.history": "更正记录", "review.autoplay": "自动播放",
  "review.shortcuts": "快捷键", "review.broken": "文件中有 {count} 行无法读取。", "review.end": "已是最后一行。",
  "keys.title": "键盘", "keys.next": "下一行、上一行", "keys.play": "播放或暂停", "keys.digits": "在当前组中选择标签", "keys.zero": "未知",
  "keys.group": "切换标签组", "keys.enter": "确认所见，保存，下一行", "keys.edit": "编辑转写；Esc 退出", "keys.model": "采用模型的转写", "keys.undo": "撤销上一次", "keys.help": "此列表",
  "key.title": "此服务需要密钥", "key.label": "API 密钥", "key.use": "使用",
};

const ZH_LABELS = {
  event: "声音事件", emotion: "情感", style: "风格", gender: "性别", age: "年龄", language: "语种", turn: "话轮",
  laugh: "笑", cough: "咳嗽", cry: "哭", screaming: "尖叫", sigh: "叹气", "throat clearing": "清嗓子", sneeze: "打喷嚏", other: "其他", none: "无",
  sad: "悲伤", anger: "愤怒", neutral: "中性", happy: "高兴", surprise: "惊讶", fear: "害怕", disgust: "厌恶",
  female: "女", male: "男", child: "儿童", adult: "成人", old: "老年", zh: "普通话", en: "英语",
  transcript: "转写", "transcript with word times": "带时间的转写", "vocal event": "声音事件", "speaking style": "说话风格", reply: "回复", text: "转写",
};

let words = EN;
let titles = {};

export const language = () => (words === ZH ? "zh" : "en");

export function setLanguage(code) {
  words = code === "zh" ? ZH : EN;
  document.documentElement.lang = language();
  translate(document);
}

/** English names of labels that are not English, as the server gives them. */
export function setTitles(found) {
  titles = { ...titles, ...found };
}

export function t(key, values = {}) {
  return (words[key] ?? EN[key] ?? key).replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
}

/** A label, a task or a label set in the language of the page. */
export const named = (name) => (language() === "zh" ? (ZH_LABELS[name] ?? name) : (titles[name] ?? name));

export function translate(root) {
  for (const element of root.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of root.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", t(element.dataset.label));
    if (element.matches("button")) element.title = t(element.dataset.label);
  }
  for (const element of root.querySelectorAll("[data-placeholder]")) element.placeholder = t(element.dataset.placeholder);
}
