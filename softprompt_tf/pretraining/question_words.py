"""What questions ask for: their opening words, and the names, nouns and forms of each kind for `question_tasks`.

Names, nouns and forms are in `words/question_*.txt`.
"""

from softprompt_tf.pretraining.word_lists import WORDS, line_lists, word_lists

# What a question asks for, told by its opening words; the first row that matches wins.
OPENING_WORDS: tuple[tuple[str, str], ...] = (
    (r"^(?:and |but )?(?:who|whom|whose)\b", "person"),
    (r"^(?:and |but )?where\b", "place"),
    (r"^(?:and |but )?(?:what|which) (?:city|country|town|state|island|street|place|land|village|river)\b", "place"),
    (r"^(?:and |but )?(?:what|which) (?:man|woman|person|king|lady|gentleman|girl|boy|fellow|poet)\b", "person"),
    (r"^(?:and |but )?(?:what|which) (?:year|day|hour|month|time|date)\b", "time"),
    (r"^(?:and |but )?when\b", "time"),
    (r"^(?:and |but )?how (?:long|often|soon)\b", "time"),
    (r"^(?:and |but )?how (?:many|much|old|far|tall|large|big|high|deep|fast)\b", "number"),
    (r"^(?:and |but )?(?:why|how come|for what reason|what for)\b", "reason"),
    (r"^(?:and |but )?how\b", "manner"),
    (r"^(?:and |but )?what\b", "thing"),
)

# kind -> what it may be called in an instruction, the plainest name first
KIND_NAMES = word_lists(WORDS / "question_names.txt")

# kind -> nouns that ask for it behind "what", "which" or "name the"
ASKED_NOUNS = word_lists(WORDS / "question_nouns.txt")

# kind -> openings of questions; {} is a stretch of a text, {noun} a noun of the kind
ASKED_FORMS = line_lists(WORDS / "question_forms.txt")
