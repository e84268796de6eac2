# ruff: noqa: SIM905 - a word list reads better as text
"""Words of praise and of blame for the tasks of `sentiment_tasks`.

Written down by hand, with reviews in mind; no row of a data set was copied.
"""

PRAISE_ADJECTIVES = tuple(
    """
absorbing accomplished acclaimed admirable adorable affecting agreeable alive amazing amiable amusing appealing artful
astonishing astute authentic awesome beautiful beloved blessed bold brave breathtaking bright brilliant buoyant captivating
charismatic charming cheerful clear clever comfortable compassionate compelling confident consistent convincing cool
courageous crafty creative crisp dazzling decent deft delicate delicious delightful dynamic eager earnest effective
effortless elegant eloquent enchanting endearing energetic engaging engrossing enjoyable enlightening entertaining
enthralling epic essential excellent exceptional exciting exhilarating exquisite extraordinary exuberant fabulous faithful
fascinating favourite favorite fine flawless fluid fresh friendly fun funny generous gentle genuine gifted glad glorious good
gorgeous graceful grand grateful great gripping handsome happy harmonious heartfelt heartwarming hilarious honest hopeful
human humane humorous imaginative impeccable impressive incisive incredible ingenious innovative insightful inspired inspiring
intelligent intense interesting intimate intriguing inventive invigorating irresistible joyful joyous jolly keen kind likable
likeable lively lovely lovable loving luminous luscious lush lyrical magical magnificent majestic marvelous marvellous
masterful mature meaningful memorable merry mesmerizing moving nice nimble noble nuanced original outstanding passionate
peaceful perceptive perfect playful pleasant pleasing pleased poetic poignant polished popular positive powerful precious
pretty priceless profound proud pure quirky radiant rare realistic refined refreshing reliable remarkable resonant rewarding
rich riveting robust romantic satisfying scintillating seamless sensational sensitive sharp sincere skilful skillful smart
smooth solid soulful sparkling spectacular spirited splendid spontaneous stellar stirring strong stunning stylish sublime
subtle successful suspenseful superb superior supreme surprising sweet sympathetic talented tasteful tender terrific thoughtful
thrilling timeless top touching tremendous triumphant true truthful unforgettable unique uplifting valuable vibrant virtuous
visionary vivid warm watchable welcome whimsical wise witty wonderful wondrous worthwhile worthy youthful
""".split()
)

PRAISE_NOUNS = tuple(
    """
admiration art beauty bliss brilliance charm cheer comfort compassion courage delight depth ease elegance emotion energy
enjoyment excellence excitement favourite freshness fun gem genius gift glory grace greatness happiness heart hero honesty
hope humanity humor humour imagination insight integrity intelligence invention joy jewel kindness laughter life love magic
marvel masterpiece mastery merit originality paradise passion peace perfection pleasure poetry praise pride prize richness
satisfaction sensitivity sincerity skill smile soul spirit splendor strength style success suspense sweetness sympathy talent
tenderness thrill treasure treat triumph truth victory vision warmth winner wisdom wit wonder
""".split()
)

PRAISE_VERBS = tuple(
    """
admire admired adore adored amuse amuses captivate captivates celebrate celebrates charm charms cherish delight delights
delighted dazzle dazzles enchant enchants engage engages enjoy enjoyed enlighten entertain entertains excel excels excite
excites fascinate fascinates glow glows inspire inspires laugh loved love loves move moved please pleases praise praised
recommend recommended rejoice satisfies satisfy shine shines smile smiled soar soars sparkle sparkles succeed succeeds
surprise surprises thrill thrills touch touched triumphs uplift welcome welcomed win wins won
""".split()
)

BLAME_ADJECTIVES = tuple(
    """
abominable abysmal afraid aimless amateurish angry annoying anxious artificial ashamed atrocious awful awkward bad banal bare
base bitter bizarre bland bleak bloated bogus boring broken brutal careless cheap cheesy childish chilly clumsy coarse cold
colorless colourless confused confusing contemptible contrived convoluted corny corrupt crass crude cruel cursed cynical damned
dangerous dark dated dead deadly deceitful defective depressing derivative despicable desperate detestable dim dire dirty
disagreeable disappointed disappointing disastrous disgraceful disgusting dishonest disjointed dismal distasteful
distressing disturbing doubtful drab dreadful dreary dry dull dumb dusty embarrassing empty endless evil exaggerated excessive
exhausting exploitative failed fake false faulty feeble filthy flat flawed flimsy foolish forced forgettable formulaic foul
fragmented frantic frightful frustrating fuzzy garbled generic gloomy greedy grim gross grotesque gruesome guilty half-baked
hackneyed harsh hateful heartless heavy-handed hideous hollow hopeless horrible horrid hostile idiotic idle ill inane inadequate
incoherent incompetent inconsistent indifferent inept inert inferior insipid insulting insufferable irritating jaded joyless
junky lackluster lame lazy leaden lifeless limp listless long-winded loathsome lonely lost loud ludicrous lousy low manipulative
mawkish mean meager meandering meaningless mechanical mediocre melancholy mindless miserable misguided monotonous mournful muddled
muddy mundane murky nasty negative nonsensical noisy obnoxious obvious odious offensive ordinary outdated overblown overlong
overwrought painful pale pathetic pedestrian phony plodding pointless poor predictable preposterous pretentious
problematic repellent repetitive repulsive revolting ridiculous rotten rough routine rude sad sappy scattered schlocky senseless
self-indulgent sentimental shabby shallow shameful shameless shapeless shoddy sick sickening silly simplistic sleazy sloppy
slow sluggish smug sordid sour spoiled stale static stereotyped stiff stilted strained stupid superficial tasteless tawdry tedious
tepid terrible thin thoughtless tired tiresome toothless tortured trashy tragic trite trivial troubled ugly unbearable
unconvincing undercooked uneven unfocused unfortunate unfunny unhappy unimaginative uninspired uninteresting unintentional
unjust unlikable unnecessary unoriginal unpleasant unsatisfying unsuccessful useless vague vain vapid vicious vile violent
vulgar wasteful wasted weak weary weird wicked wooden worn worse worst worthless wretched wrong
""".split()
)

BLAME_NOUNS = tuple(
    """
absurdity anger apathy banality blame bloat blunder boredom bore chaos chore cliche clumsiness confusion contempt cruelty curse
damage danger death decay defeat despair disappointment disaster disgrace disgust dishonesty distress drivel dud dullness
emptiness enemy envy error evil excess failure fault fear filth flaw flop folly fool fraud garbage gloom greed grief guilt hate
hatred horror ignorance incompetence indifference injury insult irritation jealousy joke junk lack laziness lies loss malice
mediocrity mess misery misfire misfortune mistake monotony murder neglect nonsense nuisance pain pity poison pretension punishment
regret ruin rubbish sadness scandal shame sickness sin slaughter sloppiness sorrow stupidity suffering tedium terror torment
torture trash trouble ugliness vanity villain violence vice waste weakness woe worry wreck
""".split()
)

BLAME_VERBS = tuple(
    """
annoy annoys abuse bore bores bored blame blamed collapse collapses complain condemn condemned confuse confuses criticize
criticized curse damage decline depress despise despised destroy destroyed detest disappoint disappoints disgust drag drags
fail fails failed falter falters fizzle fizzles flounders grate grates hate hated hates hurt hurts insult insults irritate
irritates kill killed lacks lament lose loses lost mourn murdered neglect offend offends regret regretted ruin ruins ruined
scorn spoil spoils squander squandered stinks stumble stumbles suck sucks suffer suffers waste wastes weep worsen wreck
""".split()
)

PRAISE = frozenset(PRAISE_ADJECTIVES + PRAISE_NOUNS + PRAISE_VERBS) - {
    "art",
    "cool",
    "human",
    "life",
    "move",
    "moved",
    "top",
}
BLAME = frozenset(BLAME_ADJECTIVES + BLAME_NOUNS + BLAME_VERBS) - {"bare", "cold", "dark", "dry", "low", "slow", "thin"}
NEGATIONS = frozenset(
    """
not no never neither nor without hardly scarcely barely cannot nothing nobody none n't didn't don't doesn't wasn't isn't
aren't weren't won't can't couldn't lacks lacking
""".split()
)

# Pairs of answers, praise first.
POLARITY_PAIRS = (
    ("positive", "negative"), ("good", "bad"), ("great", "terrible"), ("happy", "sad"), ("pleasant", "unpleasant"),
    ("praise", "blame"), ("like", "dislike"), ("love", "hate"), ("wonderful", "awful"),
)  # fmt: skip
