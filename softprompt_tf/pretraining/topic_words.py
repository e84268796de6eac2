"""What texts are about: words that tell a topic, nouns that tell an article's topic, and the names that a topic has.

The words are in `words/topic_names.txt` and `words/topic_words.txt`.
"""

from softprompt_tf.pretraining.word_lists import WORDS, word_lists

# topic -> what it may be called in an instruction, the plainest name first
TOPIC_NAMES = word_lists(WORDS / "topic_names.txt")

# topic -> words that tell it by themselves
TOPIC_WORDS = word_lists(WORDS / "topic_words.txt")

# The topic of an encyclopedia article, told by the nouns of its opening sentence; the first row that matches wins.
OPENING_NOUNS: tuple[tuple[str, str], ...] = (
    (
        r"football|basketball|cricket|baseball|hockey|rugby|tennis|athlet|cyclist|swimmer|golfer|wrestler|boxer|sport"
        r"|olympic|gymnast|rower|skier|racing|volleyball|handball|league season|championship|tournament",
        "sport",
    ),
    (r"software|computer|internet|app\b|website|video game|smartphone|electronic|programming|technolog", "technology"),
    (
        r"company|business|bank|brand|manufacturer|retail|corporation|entrepreneur|startup|investor|economist|firm\b",
        "business",
    ),
    (r"album|song|singer|band\b|musician|rapper|composer|orchestra|record producer|guitarist|operas?\b", "music"),
    (r"film|actor|actress|television|sitcom|tv series|director|movie|web series|comedian", "film"),
    (
        r"scien|species|genus|moths?\b|beetle|plant|chemi|physic(?!ian)|biolog|asteroid|protein|mathemat|engineer|fossil|spider"
        r"|fish\b|snail|research",
        "science",
    ),
    (r"disease|hospital|medical|physician|drug|health|nurse", "health"),
    (r"lawyer|judge|court|law\b|crime|murder|trial|police|prison|attorney", "law"),
    (r"politician|election|minister|party\b|senat|parliament|governor|mayor|diplomat|president|treaty", "politics"),
    (r"army|navy|military|officer|soldier|battle|war\b|regiment|submarine|ship\b|aircraft|squadron", "war"),
    (r"station|railway|airport|airline|road|highway|bridge|hotel|tourist|route|bus\b|tram", "travel"),
    (r"school|university|college|teacher|academic|educat|professor", "school"),
    (r"novel|book|writer|author(?!i)|poet|journalist|newspaper|magazine|poem", "books"),
    (r"church|bishop|priest|saint|temple|mosque|relig|monastery|cathedral", "religion"),
    (r"painter|artist|sculptor|architect|painting|photograph|fashion|designer|museum", "art"),
    (r"village|town\b|city|district|municipality|commune|river|mountain|lake|province|settlement|neighbo", "place"),
    (r"dish|food|restaurant|cuisine|drink|beer|wine|chef", "food"),
)
