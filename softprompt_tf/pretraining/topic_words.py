# ruff: noqa: SIM905 - a word list reads better as text
"""What texts are about: words that tell a topic, nouns that tell an article's topic, and the names that a topic has.

Written down by hand for the tasks of `topic_tasks` and `article_tasks`, with news in mind; no row of a data set was copied.
"""

# topic -> what it may be called in an instruction, the plainest name first
TOPIC_NAMES: dict[str, tuple[str, ...]] = {
    "sport": ("sport", "sports", "games", "athletics"),
    "business": ("business", "economy", "money", "trade", "finance", "companies"),
    "technology": ("technology", "computers", "tech", "internet", "science"),
    "science": ("science", "nature", "research", "knowledge"),
    "politics": ("politics", "government", "world", "nations", "state"),
    "war": ("war", "army", "military", "world"),
    "music": ("music", "songs"),
    "film": ("film", "movies", "television"),
    "books": ("books", "literature", "writing"),
    "religion": ("religion", "church", "faith"),
    "food": ("food", "cooking"),
    "travel": ("travel", "transport", "journeys"),
    "school": ("school", "education", "learning"),
    "art": ("art", "painting"),
    "law": ("law", "crime", "justice"),
    "health": ("health", "medicine"),
    "place": ("place", "village", "town"),
    "family": ("family", "home"),
}

# topic -> words that tell it by themselves
TOPIC_WORDS: dict[str, tuple[str, ...]] = {
    "sport": tuple(
        """
athlete athletes athletics ball baseball basketball bat batting boxer boxing captain champion champions championship coach
coaches cricket cup cycling defeat defender draw finals fans football footballer game games goal goals goalkeeper golf
gymnast hockey hurdles inning innings league match matches medal midfielder olympic olympics opener overtime penalty pitcher
pitching player players playoff playoffs quarterback race racing referee rookie rugby sailing season score scored scoring
semifinal shot shutout skating ski soccer softball sprint squad stadium striker swimmer swimming team teammate teams tennis
title touchdown tournament trophy umpire victory volleyball win wicket winger wrestler wrestling yards
""".split()
    ),
    "business": tuple(
        """
acquisition advertising airline assets auction bank bankers banking bankruptcy billion bond bonds brand budget business
businesses buyer capital cash cent chairman chief commerce commercial companies company consumer consumers contract
corporation cost
costs credit currency customer customers deal dealer debt demand dividend dollar dollars earnings economic economist economy
employer employers executive export exports factory finance financial firm firms fund funds growth income industry inflation
insurance interest invest investment investor investors jobs loan loans manager manufacturer market markets merchant
merger million
mortgage oil payment percent pound price prices profit profits purchase quarter rates retail retailer revenue sale sales sector
sell share shareholder shareholders shares shop stock stocks store stores supplier tax trade trader trading treasury
unemployment
wages wholesale workers
""".split()
    ),
    "technology": tuple(
        """
android app application apple broadband browser bytes camera chip chips code computer computers computing console cyber data
database desktop device devices digital disk download electronic electronics email encryption engine engineer file files
gadget google hacker hackers hardware ibm intel internet keyboard laptop laser linux machine machines memory messaging
microsoft mobile modem network networks online operating password patch phone phones player processor program programmer
programming provider radio robot robots router satellite screen search security server servers site software spam spyware
technology telephone upgrade user users version video virus web website windows wireless yahoo
""".split()
    ),
    "science": tuple(
        """
acid animals asteroid astronaut astronomer astronomers atom atoms bacteria biologist biology botany cell cells chemical
chemist chemistry climate comet discovery dinosaur earth ecology electron element elements energy evolution experiment
experiments
fossil fossils galaxy gas gene genes genetic genome geology gravity heat hurricane insects laboratory launch mammal mars
mathematics measurement microscope mission molecule moon nasa ocean orbit organism oxygen particle physicist physics planet
planets plant plants protein radiation researcher researchers rocket saturn scientific scientist scientists shuttle solar space
spacecraft species star stars studies study sun telescope temperature theory universe volcano warming
""".split()
    ),
    "politics": tuple(
        """
administration ambassador assembly ballot cabinet campaign candidate candidates chancellor coalition congress constitution
country crisis debate delegation democracy democrat democratic democrats diplomat diplomats elected election elections embassy
foreign government governor independence international kingdom king leader leaders legislature liberal mayor minister ministers
ministry monarchy nation national nations negotiations nuclear officials opposition parliament parliamentary parties party peace
policy political politician politicians poll polls premier presidency president presidential prime protest province reform
republic republican republicans sanctions secretary senate senator senators summit territory treaty united vote voted
voters votes
""".split()
    ),
    "war": tuple(
        """
aircraft ammunition armed armies army artillery attack attacked attacks battalion battle battles bomb bombing bombs brigade
cannon captured casualties cavalry ceasefire colonel combat commander conflict conquest corps corporal defence destroyer enemy
explosion fighters fighting fleet forces fort fortress general grenade guerrilla gun guns gunmen hostage hostages
infantry insurgents
invasion iraq lieutenant marines militant militants military militia missile missiles mortar navy officer officers
patrol prisoners raid
rebel rebels regiment retreat rifle sergeant shelling shells siege soldier soldiers squadron strike submarine suicide surrender
tank tanks terrorism terrorist terrorists trenches troops veteran victims war warfare warrior wars weapons wounded
""".split()
    ),
    "music": tuple(
        """
album albums audience band bands bass cello choir chorus composer composers concert dance drum drums duet flute folk gospel
guitar guitarist hymn jazz keyboards lyrics melody musical musician musicians opera orchestra organ piano pianist pop quartet
rap rapper recording rhythm rock sang sing singer singers singing single solo sonata song songs songwriter soprano
symphony tenor
tour track tracks trumpet tune tunes vinyl violin vocal vocals
""".split()
    ),
    "film": tuple(
        """
acting actor actors actress actresses animated animation audience award blockbuster broadcast cast channel character cinema
comedian comedy director directed documentary drama episode episodes film filmed filming films hollywood horror movie movies
premiere produced producer role roles scene scenes screen screening screenplay script sequel series show shows sitcom stage star
starred starring studio television thriller trailer viewers
""".split()
    ),
    "books": tuple(
        """
author authors biography book books chapter chapters critic critics dictionary editor edition essay essays fiction
journal library
literary literature magazine magazines manuscript newspaper newspapers novel novelist novels pages poem poems poet poetry poets
preface prose publication published publisher publishers publishing readers reading stories story tale tales translated
translation verse verses volume volumes writer writers writing written
""".split()
    ),
    "religion": tuple(
        """
abbey altar angel apostle archbishop baptist bible bishop bishops blessed cathedral catholic chapel christ christian
christianity church churches clergy congregation creed cross deacon diocese divine faith god gods gospel heaven hindu holy islam
jesus jewish mass minister missionary monastery monk monks mosque muslim nun parish pastor pilgrim pope pray prayer prayers
preacher priest priests prophet protestant rabbi religion religious saint saints sermon shrine sin soul temple theology worship
""".split()
    ),
    "food": tuple(
        """
bake baked baker bread breakfast butter cake cheese chef chicken chocolate coffee cook cooked cooking cream cuisine
dessert dinner
dish dishes drink eat eaten eating egg eggs feast fish flavor flour food fried fruit fruits grain grilled honey kitchen lunch
meal meals meat menu milk onion oven pepper pie potato potatoes recipe restaurant restaurants rice roast salad salt sauce soup
spice sugar supper tea vegetable vegetables vinegar wheat wine
""".split()
    ),
    "travel": tuple(
        """
airport airports avenue bicycle boat bridge bus buses cabin canal car cars carriage coach cruise departure driver express
ferry flight flights freight harbour harbor highway highways hotel hotels inn journey junction lane locomotive luggage map miles
motorway passenger passengers pilot platform port rail railroad rails railway road roads route routes ship ships station
stations
street terminal ticket tour tourist tourists traffic train trains tram transit transport travel traveled traveler travelers trip
truck tunnel vehicle vehicles voyage wagon
""".split()
    ),
    "school": tuple(
        """
academic academy bachelor campus class classes classroom college colleges course courses curriculum dean degree diploma
doctorate
education educational educator exam examination faculty graduate graduated graduates grammar headmaster institute kindergarten
lecture lecturer lectures lesson lessons master math principal professor professors pupil pupils scholar scholars
scholarship school
schools semester student students taught teach teacher teachers teaching textbook thesis tuition tutor undergraduate
universities university
""".split()
    ),
    "art": tuple(
        """
architect architecture artist artistic artists artwork bronze canvas ceramic collection cubist curator design designer designs
draw drawing drawings engraving exhibit exhibition exhibitions exhibits fashion fresco galleries gallery illustration
illustrations illustrator landscape marble mural museum museums paint painted painter painters painting paintings palette
photograph photographer photographs photography portrait portraits pottery sculptor sculpture sculptures sketch sketches
statue watercolor
""".split()
    ),
    "law": tuple(
        """
accused alleged appeal arrest arrested attorney attorneys bail case charged charges convicted conviction counsel court courts
crime crimes criminal custody defendant detective evidence fraud guilty hearing illegal inmate innocent inquiry investigation
investigators jail judge judges jury justice lawsuit lawyer lawyers legal magistrate murder murdered offence offense
penalty plaintiff
police policeman prison prisoner prosecution prosecutor prosecutors punishment robbery ruling sentence sentenced sheriff
stolen suspect suspects sue sued testimony theft thief trial tribunal verdict victim warrant witness witnesses
""".split()
    ),
    "health": tuple(
        """
ache aids allergy blood bone brain cancer clinic clinical cure cured deaths dentist diabetes diagnosis diet disease diseases
doctor doctors dose drug drugs epidemic fever flu headache heal health healthy heart hospital hospitals ill illness infected
infection injuries injury lung medical medicine medicines nurse nurses obesity pain patient patients pharmacy physician
physicians pill pills pregnancy prescription recovery sick skin sleep stroke surgeon surgery symptoms therapy treatment tumor
vaccine vaccines virus vitamin wound
""".split()
    ),
}

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
