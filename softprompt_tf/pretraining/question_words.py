# ruff: noqa: SIM905 - a word list reads better as text
"""What questions ask for: their opening words, and nouns of each kind, written down by hand for `question_tasks`."""

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
KIND_NAMES: dict[str, tuple[str, ...]] = {
    "person": ("person", "human", "someone", "people"),
    "place": ("place", "location", "where"),
    "number": ("number", "amount", "numeric", "count"),
    "time": ("time", "date", "number"),
    "reason": ("reason", "cause", "description"),
    "manner": ("manner", "way", "description"),
    "meaning": ("meaning", "definition", "description"),
    "thing": ("thing", "entity", "object"),
    "letters": ("letters", "abbreviation", "acronym"),
}

# kind -> nouns that ask for it behind "what", "which" or "name the"
ASKED_NOUNS: dict[str, tuple[str, ...]] = {
    "person": tuple(
        """
actor actress artist astronaut athlete author boxer boy brother captain champion chief coach comedian composer convict dancer
daughter dictator director doctor emperor explorer father general girl governor hero heroine inventor judge king lady lawyer
leader man mayor mother musician novelist officer painter person philosopher pilot player poet politician pope president prince
princess producer queen ruler sailor saint scientist senator singer soldier son spy star team teacher wife woman writer
company organization band group tribe family
""".split()
    ),
    "place": tuple(
        """
area bay beach body-of-water capital cave city coast colony continent country county desert district empire forest
harbor hill hotel house island kingdom lake land mountain museum nation neighborhood ocean park peak peninsula place planet port
prison province range region river road sea shore state station stadium street strait territory town university valley village
volcano
""".split()
    ),
    "number": tuple(
        """
age altitude amount area-code average cost count depth diameter distance fee figure fraction height length limit
number percent percentage population price quantity rate ratio salary score size speed sum temperature total value volume
weight width zip-code
""".split()
    ),
    "time": tuple(
        """
birthday century date day decade era hour holiday-date month season time week year
""".split()
    ),
    "thing": tuple(
        """
animal animals award ball bird board-game book boat breed building cake car card cartoon chemical cloth clothing coin color
colors colour crop currency dance disease dish dog drink drug element event fabric film fish flag flower food
fruit game gas gem gift horse insect instrument invention jewel language law letter liquid machine magazine medal medicine
metal mineral money movie mushroom musical newspaper novel object opera organ paint plant play poem poison product
religion sauce shape ship show sign song sport stone symbol television-show title tool toy tree vegetable vehicle
vessel weapon wine word
""".split()
    ),
}

# kind -> openings of questions; {} is a stretch of a text, {noun} a noun of the kind
ASKED_FORMS: dict[str, tuple[str, ...]] = {
    "person": (
        "Who {}?", "Who is {}?", "Who was {}?", "Whose {}?", "What {noun} {}?", "Which {noun} {}?", "Name the {noun} who {}.",
        "What is the name of the {noun} who {}?", "What {noun} was {}?", "Who was the {noun} of {}?", "Who invented {}?",
    ),
    "place": (
        "Where {}?", "Where is {}?", "Where did {}?", "Where can I find {}?", "What {noun} {}?", "Which {noun} {}?",
        "In what {noun} {}?", "What is the {noun} of {}?", "Name a {noun} {}.", "What {noun} is {}?", "Where was {}?",
    ),
    "number": (
        "How many {}?", "How much {}?", "How old {}?", "How far {}?", "How tall is {}?", "How high {}?",
        "What is the {noun} of {}?",
        "What {noun} of {}?", "How fast {}?", "How large is {}?", "How big {}?", "How many {noun} {}?",
    ),
    "time": (
        "When {}?", "When did {}?", "When was {}?", "What {noun} {}?", "What {noun} did {}?", "How long {}?", "How often {}?",
        "In what {noun} {}?", "What {noun} was {}?",
    ),
    "thing": (
        "What {noun} {}?", "What {noun} is {}?", "What {noun} did {}?", "Which {noun} {}?", "What kind of {noun} {}?",
        "Name the {noun} {}.", "What is the name of the {noun} {}?", "What type of {noun} {}?", "What {noun} was {}?",
        "What are the {noun} {}?", "What is a {noun} {}?", "What other {noun} {}?",
    ),
    "meaning": (
        "What is {}?", "What are {}?", "What does {} mean?", "What is the meaning of {}?",
        "Define {}.", "What is the definition of {}?",
        "What was {}?", "What is the difference between {}?", "What is the origin of {}?", "What do you call {}?",
    ),
    "reason": (
        "Why {}?", "Why did {}?", "Why is {}?", "Why does {}?", "What causes {}?", "What is the reason for {}?", "Why are {}?",
        "What caused {}?", "What is the purpose of {}?",
    ),
    "manner": (
        "How {}?", "How do you {}?", "How did {}?", "How does {}?", "How can I {}?", "How do {}?", "How is {}?", "How was {}?",
    ),
    "letters": (
        "What does {letters} stand for?", "What is the abbreviation for {}?", "What does the abbreviation {letters} mean?",
        "What is the full form of {letters}?", "What is {letters}?", "What does {letters} mean?", "What is the acronym for {}?",
    ),
}  # fmt: skip
