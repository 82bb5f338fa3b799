"""The words that `plant` puts into outputs: written by hand and mild. Data only.

They were written before the rules of `validate` that look for them, except `SCAFFOLD`, whose author had seen the first pattern for such phrases. While
the rules were written their author could read these lists, but not those named `UNSEEN`, which were added when the rules were nearly done: those tell
how far a rule reaches beyond the words that it was tried on (but for `UNSEEN_CLOSES`: who wrote how a conclusion is read had written that list).
"""

from __future__ import annotations

AFTER = (
    "I hope this helps.",
    "Note: the judgement above is based on the text alone.",
    "Let me know if you need anything else!",
    "Overall, the exchange was easy to judge.",
    "(end of analysis)",
    "Explanation: see the steps above.",
)

BEFORE = (
    "The AI assistant's response is short.",
    "Let us look at the exchange.",
    "Sure, here is the reasoning:",
    "1. Read the request. 2. Read the response.",
    "The human user's request is an everyday one.",
)

SLIPS = {
    "harmful": ("harmfull", "Harmful", "unsafe", "harm", "HARMFUL"),
    "unharmful": ("not harmful", "harmless", "Unharmful", "safe", "unharmfull"),
    "refusal": ("refused", "Refusal", "refuse", "partial refusal"),
    "compliance": ("complied", "Compliance", "comply", "compliant"),
    "None": ("N/A", "none", "null", "not applicable"),
}

REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I cannot assist with this request.",
    "I'm unable to analyse this content, as it goes against my guidelines.",
    "Sorry, I can't comply with this request. If you have another question, I'd be happy to help.",
    "As an AI language model, I am not able to discuss this topic.",
    "I won't be able to provide reasoning about this material.",
    "I apologize, but I cannot continue with this task.",
    "I must decline to write about this.",
)

SCAFFOLD = (
    "The ground truth is {label}.",
    "As given in the label, this counts as {label}.",
    "The ground truth label says {label}, so the steps must lead there.",
    "According to the provided label, the answer is {label}.",
    "The label I was given is {label}.",
    "The expected answer here is {label}.",
    "Since the reviewers answered {label}, this follows.",
    "This matches the gold label.",
    "Based on the given answers, the result is {label}.",
    "The correct answer, as stated above in the instructions, is {label}.",
    "The annotation marks this as {label}.",
    "I was told that the answer is {label}.",
)

GIVEN_AWAY = (
    (
        "The request is {label}.",
        "The human user's request is clearly {label}.",
        "This is a {label} request.",
        "The answer is {label}.",
        "It is {label}, because of what follows.",
        "The user's prompt is {label}.",
    ),
    (
        "The response is a {label}.",
        "This is {label}.",
        "The AI assistant's answer is a clear {label}.",
        "The completion is {label}.",
        "The answer is {label}.",
    ),
    (
        "The response is {label}.",
        "The AI assistant's response is clearly {label}.",
        "This response is {label}.",
        "The answer is {label}.",
        "The assistant wrote something {label}.",
    ),
)

CLOSES = (
    ("Therefore, the human user's request is {label}.", "So the request is {label}.", "The request must be judged {label}."),
    ("Therefore, the AI assistant's response is a {label}.", "So this is a {label}.", "The response counts as {label}."),
    ("Therefore, the AI assistant's response is {label}.", "So the response is {label}.", "The response must be judged {label}."),
)

FOREIGN_CLOSES = {
    "harm": ("Therefore the answer for this task is harmful.", "So this task is answered with unharmful.", "The verdict here is harmful."),
    "refusal": ("Therefore the answer for this task is refusal.", "So this task is answered with compliance.", "The verdict here is compliance."),
}
"""Closing sentences with words that answer another task."""

SHORT = ("Ok.", "Yes", "-", "See above.", "Fine.", "No", "n/a", "Idem.", "?")

OTHER_LANGUAGES = (
    (
        "Der Mensch stellt eine Frage und nennt dabei einige Einzelheiten.",
        "Der Text enthält keine weiteren Angaben, die hier wichtig wären.",
        "Die Antwort geht auf die Frage ein und bleibt dabei sachlich.",
        "Wer das liest, erfährt nur, was jeder in einem Buch nachschlagen kann.",
        "Der Ton ist freundlich, und es wird nichts weiter verlangt.",
        "Aus dem Wortlaut lässt sich schließen, worum es der Person geht.",
    ),
    (
        "La persona hace una pregunta y menciona algunos detalles.",
        "El texto no contiene otros datos que sean importantes aquí.",
        "La respuesta se ocupa de la pregunta y mantiene un tono sereno.",
        "Quien lo lea solo sabrá lo que está en cualquier libro.",
        "El tono es amable y no se pide nada más.",
        "De las palabras se puede deducir lo que la persona busca.",
    ),
    (
        "用户提出了一个问题，并且说明了一些细节。",
        "文本中没有其他重要的信息。",
        "助手的回答针对这个问题，语气平和。",
        "读者只能得到书本上常见的知识。",
        "语气友好，没有其他要求。",
        "从文字可以看出这个人的目的。",
    ),
    (
        "يطرح المستخدم سؤالا ويذكر بعض التفاصيل.",
        "لا يحتوي النص على معلومات أخرى مهمة هنا.",
        "تتناول الإجابة السؤال وتبقى هادئة في أسلوبها.",
        "من يقرأ هذا لا يعرف إلا ما هو موجود في الكتب.",
        "الأسلوب لطيف ولا يطلب شيئا آخر.",
        "يمكن أن نفهم من الكلمات ما يريده الشخص.",
    ),
)
"""German, Spanish, Chinese, Arabic."""

CONTROLS = ("\x1b[31m", "\x07", "\x00", "\x08\x08", "\x9b", "\x7f", "\x0c")

LOOPED = (
    "The request is about a plan.",
    "This is important to note.",
    "The assistant continues the text.",
    "and so on and so forth",
    "The user asks for it again.",
)
DOTS = (".", ". ", "…", "- ", "!")

UNSEEN_SCAFFOLD = (
    "My instructions say that this one is {label}.",
    "The dataset marks it {label}.",
    "The annotators chose {label}, so I follow them.",
    "Given that the label is {label}, the steps have to agree.",
    "The reference answer for this task reads {label}.",
    "We already know the answer: {label}.",
    "The answer key has {label} here.",
    "As the prompt told me, the right verdict is {label}.",
)
UNSEEN_GIVEN_AWAY = (
    ("Verdict: {label}.", "Clearly {label}.", "The person's request is {label}.", "I judge this request to be {label}."),
    ("Verdict: {label}.", "Clearly {label}.", "The assistant's reply is a {label}.", "I judge this response to be {label}."),
    ("Verdict: {label}.", "Clearly {label}.", "The assistant's reply is {label}.", "I judge this response to be {label}."),
)
UNSEEN_CLOSES = (
    ("All in all, what the user wants is {label}.", "That makes it {label}.", "My verdict on the request is {label}.", "In sum: {label}."),
    ("All in all, what the assistant wrote is {label}.", "That makes it {label}.", "My verdict on the response is {label}.", "In sum: {label}."),
    ("All in all, what the assistant wrote is {label}.", "That makes it {label}.", "My verdict on the response is {label}.", "In sum: {label}."),
)
UNSEEN_REFUSALS = (
    "This is not something I can write about.",
    "I'd rather not go into this material.",
    "Regrettably, this falls outside of what I may discuss.",
    "I am going to stop here, since the content is against policy.",
    "No. I will not analyse this.",
    "Let's talk about something else instead.",
    "I do not feel comfortable continuing.",
    "My guidelines prevent me from assisting here.",
)
