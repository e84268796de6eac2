"""The words and patterns that the self-supervised tasks look for in raw text, and the answers that they offer."""

# Words of praise and of blame; a passage with words of one side only gets that side as its answer.
PRAISE = frozenset([
    "admirable", "admire", "admired", "adorable", "agreeable", "amazing", "amiable", "amusing", "beautiful",
    "beautifully", "beauty", "best", "blessed", "brave", "brilliant", "charm", "charming", "cheerful", "comfort",
    "comfortable", "courage", "delicious", "delight", "delighted", "delightful", "elegant", "enjoy", "enjoyed",
    "excellent", "excellence", "exquisite", "fascinating", "favourite", "favorite", "fine", "generous", "gentle",
    "glad", "glorious", "good", "graceful", "grateful", "great", "handsome", "happily", "happiness", "happy",
    "honest", "hope", "impressive", "joy", "joyful", "kind", "kindly", "kindness", "loved", "lovely", "loving",
    "magnificent", "merry", "noble", "perfect", "perfectly", "pleasant", "pleased", "pleasure", "pretty", "proud",
    "smiling", "splendid", "success", "successful", "superb", "sweet", "tender", "triumph", "true", "warm",
    "welcome", "wise", "wonderful", "worthy", "acclaimed", "praised", "popular", "win", "winning", "won", "hero",
])  # fmt: skip
BLAME = frozenset([
    "abominable", "afraid", "angry", "anger", "annoyed", "anxious", "ashamed", "awful", "bad", "badly", "base",
    "bitter", "bitterly", "broken", "brutal", "clumsy", "coarse", "contempt", "cruel", "cruelty", "cursed",
    "damned", "dangerous", "dead", "despair", "detestable", "dirty", "disagreeable", "disappointed",
    "disappointing", "disappointment", "disaster", "disgrace", "disgust", "disgusting", "dismal", "distress",
    "doubtful", "dreadful", "dreary", "dull", "enemy", "evil", "fail", "failed", "failure", "fear", "feeble",
    "filthy", "foolish", "frightful", "gloomy", "grief", "grim", "guilty", "hate", "hated", "hateful", "hideous",
    "horrible", "horrid", "horror", "hurt", "idle", "ill", "lies", "lost", "mean", "melancholy", "miserable",
    "misery", "nasty", "odious", "offensive", "pain", "painful", "poor", "rude", "ruin", "ruined", "sad", "shame",
    "shameful", "sick", "sorrow", "stupid", "suffering", "terrible", "tedious", "tired", "ugly", "unfortunate",
    "unhappy", "unpleasant", "vile", "violent", "weak", "weary", "wicked", "worse", "worst", "worthless",
    "wretched", "wrong", "criticized", "murder", "killed", "damage", "poison",
])  # fmt: skip
NEGATIONS = frozenset([
    "not", "no", "never", "neither", "nor", "without", "hardly", "scarcely", "cannot", "nothing", "n't", "didn't",
    "don't", "wasn't", "isn't",
])  # fmt: skip

# The subject of an encyclopedia article, told by the nouns of its opening sentence; the first row that matches wins.
SUBJECTS: tuple[tuple[str, str], ...] = (
    (
        r"football|basketball|cricket|baseball|hockey|rugby|tennis|athlet|cyclist|swimmer|golfer|wrestler|boxer|sport"
        r"|olympic|gymnast|rower|skier|racing|volleyball|handball|league season|championship|tournament",
        "sport",
    ),
    (
        r"company|business|bank|brand|manufacturer|retail|corporation|entrepreneur|startup|investor|economist|firm\b",
        "business",
    ),
    (r"album|song|singer|band\b|musician|rapper|composer|orchestra|record producer|guitarist|opera", "music"),
    (r"film|actor|actress|television|sitcom|tv series|director|movie|web series|comedian", "film"),
    (
        r"scien|species|genus|moth|beetle|plant|chemi|physic|biolog|asteroid|protein|mathemat|engineer|software"
        r"|computer|disease|technolog|fossil|spider|fish\b|snail|research",
        "science",
    ),
    (
        r"politician|election|minister|party\b|senat|parliament|governor|mayor|diplomat|lawyer|judge|court|law\b",
        "politics",
    ),
    (
        r"station|railway|airport|airline|road|highway|bridge|hotel|resort|island|beach|park\b|museum|tourist|route",
        "travel",
    ),
    (r"village|town\b|city|district|municipality|commune|river|mountain|lake|province|settlement|neighbo", "place"),
    (r"school|university|college|teacher|academic|educat|professor", "school"),
    (r"army|navy|military|officer|soldier|battle|war\b|regiment|submarine|ship\b|aircraft|squadron", "war"),
    (r"novel|book|writer|author|poet|journalist|newspaper|magazine|poem", "books"),
    (r"church|bishop|priest|saint|temple|mosque|relig|monastery|cathedral", "religion"),
    (r"painter|artist|sculptor|architect|painting|photograph|fashion|designer", "art"),
    (r"game\b|video game|board game|puzzle", "games"),
    (r"dish|food|restaurant|cuisine|drink|beer|wine|chef", "food"),
)

# What a question asks for, told by its opening words.
QUESTION_WORDS: tuple[tuple[str, str], ...] = (
    (r"^(?:and |but )?(?:who|whom|whose)\b", "person"),
    (r"^(?:and |but )?where\b", "place"),
    (r"^(?:and |but )?when\b", "time"),
    (r"^(?:and |but )?how (?:long|often|soon)\b", "time"),
    (r"^(?:and |but )?how (?:many|much|old|far|tall|large|big)\b", "number"),
    (r"^(?:and |but )?(?:why|how come|for what reason|what for)\b", "reason"),
    (r"^(?:and |but )?how\b", "manner"),
    (r"^(?:and |but )?what\b", "thing"),
)

# What may be blanked out of a passage, and how it is found.
BLANKED_KINDS: dict[str, str] = {
    "year": r"\b1[5-9]\d\d\b|\b20[01]\d\b",
    "number": r"\b(?:\d{1,3}|two|three|four|five|six|seven|eight|nine|ten|twenty|hundred|thousand)\b",
    "person": r"(?<=Mr\. )[A-Z]\w+|(?<=Mrs\. )[A-Z]\w+|(?<=Sir )[A-Z]\w+|(?<=Captain )[A-Z]\w+|(?<=Lady )[A-Z]\w+",
    "place": r"(?<=\bin )[A-Z][a-z]{3,}\b(?! \d)|(?<=\bat )[A-Z][a-z]{3,}\b|(?<=\bfrom )[A-Z][a-z]{3,}\b",
    "reason": r"\bbecause [^.;,]{8,60}",
    "time": (
        r"\b(?:yesterday|tomorrow|to-morrow|last night|this morning|in the evening|at noon"
        r"|January|March|June|July|October)\b"
    ),
}

# Pairs of answers for yes-or-no tasks.
ANSWER_PAIRS = (
    ("yes", "no"), ("true", "false"), ("right", "wrong"), ("correct", "incorrect"), ("agree", "disagree"),
    ("same", "different"), ("equal", "not equal"), ("entailment", "not_entailment"),
)  # fmt: skip
POLARITY_PAIRS = (
    ("positive", "negative"), ("good", "bad"), ("great", "terrible"), ("happy", "sad"), ("pleasant", "unpleasant"),
    ("praise", "blame"), ("like", "dislike"), ("love", "hate"),
)  # fmt: skip
