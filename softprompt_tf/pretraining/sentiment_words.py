"""Words of praise and of blame for the tasks of `sentiment_tasks`; they are in `words/sentiment.txt`."""

from softprompt_tf.pretraining.word_lists import WORDS, word_lists

_LISTS = word_lists(WORDS / "sentiment.txt")

PRAISE_ADJECTIVES, PRAISE_NOUNS, PRAISE_VERBS = (_LISTS[f"praise {part}"] for part in ("adjectives", "nouns", "verbs"))
BLAME_ADJECTIVES, BLAME_NOUNS, BLAME_VERBS = (_LISTS[f"blame {part}"] for part in ("adjectives", "nouns", "verbs"))
NEGATIONS = frozenset(_LISTS["negations"])

# What tells a text's feeling.
PRAISE = frozenset(PRAISE_ADJECTIVES + PRAISE_NOUNS + PRAISE_VERBS) - frozenset(_LISTS["praise, not telling"])
BLAME = frozenset(BLAME_ADJECTIVES + BLAME_NOUNS + BLAME_VERBS) - frozenset(_LISTS["blame, not telling"])

# Pairs of answers, praise first.
POLARITY_PAIRS = (
    ("positive", "negative"), ("good", "bad"), ("great", "terrible"), ("happy", "sad"), ("pleasant", "unpleasant"),
    ("praise", "blame"), ("like", "dislike"), ("love", "hate"), ("wonderful", "awful"),
)  # fmt: skip
