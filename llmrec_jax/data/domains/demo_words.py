"""The vocabulary of the built-in shops: words specific to a theme, and words that all themes share.

A theme has words that both shops use and words that only one of them uses. No word belongs to two themes.
"""

from typing import NamedTuple


class Theme(NamedTuple):
    """The words specific to a theme."""

    shared: tuple[str, ...]  # in both shops
    films: tuple[str, ...]
    books: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _theme(shared: str, films: str, books: str) -> Theme:
    return Theme(_words(shared), _words(films), _words(books))


# Partner themes are adjacent (0 and 1, 2 and 3, ...).
THEMES = {
    "space": _theme(
        "orbit comet starship galaxy moon asteroid nebula astronaut satellite colony gravity planet rocket telescope "
        "capsule signal alien eclipse meteor cosmos station module launch crater supernova",
        "airlock countdown spacesuit cockpit shuttle hologram laser android thruster splashdown",
        "quasar wormhole terraformer cryosleep exoplanet lightspeed singularity antimatter parsec astrolabe",
    ),
    "magic": _theme(
        "wizard spell wand dragon potion prophecy amulet sorcerer enchantment goblin phoenix unicorn cauldron witch "
        "rune elf curse talisman apprentice oracle griffin troll charm kingdom realm",
        "fireball broomstick warlock conjuror transformation familiar banshee portal sprite gargoyle",
        "grimoire alchemist druid bard scrying elixir golem changeling incantation chimera",
    ),
    "detective": _theme(
        "clue alibi murder inspector suspect fingerprint witness ransom motive forger sleuth burglar verdict corpse "
        "informer precinct handcuffs blackmail poison footprint custody jury robbery culprit confession",
        "stakeout wiretap getaway mugshot heist holster interrogation undercover lineup gangster",
        "whodunit constable magistrate deduction strangler inquest locket bloodstain poacher pawnbroker",
    ),
    "horror": _theme(
        "ghost vampire coffin haunting demon werewolf nightmare scream graveyard zombie possession crypt skeleton "
        "seance phantom monster asylum ritual tomb exorcist fang spectre cellar omen apparition",
        "slasher chainsaw mutant cannibal clown mask basement swarm hitchhiker jumpscare",
        "revenant ghoul poltergeist mausoleum necromancer dread hex shroud lich undertaker",
    ),
    "romance": _theme(
        "kiss wedding sweetheart bride valentine proposal heartbreak courtship lover honeymoon bouquet elopement "
        "flirtation engagement jealousy embrace matchmaker passion suitor longing devotion crush soulmate rival "
        "affair",
        "meetcute bridesmaid prom roommate makeover bachelor slowdance reunion airport raincoat",
        "duke governess ballroom dowry viscount spinster rake corset betrothal heiress",
    ),
    "cooking": _theme(
        "recipe kitchen chef bakery spice oven feast saffron pastry restaurant soup vineyard butter apron banquet "
        "chocolate garlic dough bistro harvest cheese menu dessert truffle knife",
        "foodtruck gourmand sushi diner ramen skillet waiter critic barbecue tasting",
        "sourdough marmalade pickle larder casserole preserves cookbook broth pantry rhubarb",
    ),
    "sea": _theme(
        "harbor sailor lighthouse whale anchor captain reef tide shipwreck mermaid voyage pirate island schooner "
        "coral fisherman cove trawler buoy current lagoon mast storm kraken seagull",
        "submarine periscope surfer lifeboat yacht dolphin shark tsunami scuba coastguard",
        "brig cutlass doldrums bosun rigging harpoon galleon sextant cabinboy barnacle",
    ),
    "travel": _theme(
        "passport caravan desert train backpack border pilgrim map compass suitcase jungle expedition mountain hostel "
        "ferry nomad souvenir camel trail summit guidebook stopover bazaar savanna glacier",
        "roadtrip motel highway convertible safari biplane jeep detour motorcycle rickshaw",
        "travelogue memoirist monsoon steppe sherpa monastery oasis itinerary yak muleteer",
    ),
    "war": _theme(
        "soldier battle trench general regiment sniper bunker invasion medic siege armistice tank grenade infantry "
        "barracks sergeant artillery deserter truce resistance platoon ambush medal convoy bomber",
        "paratrooper minefield helicopter dogfight commando torpedo radar beachhead flamethrower foxhole",
        "drillground musket cavalry garrison despatch bayonet rations bugle furlough quartermaster",
    ),
    "history": _theme(
        "empire queen pharaoh castle revolution throne emperor dynasty crown gladiator senate peasant archive treaty "
        "coronation knight pyramid plague monarch parchment aqueduct chariot viking conquest nobleman",
        "colosseum guillotine armor torchlight toga legion joust palanquin samurai catapult",
        "chronicle genealogy abbey manuscript regent tapestry serfdom reformation scribe annals",
    ),
    "sport": _theme(
        "champion coach stadium league boxer marathon trophy referee team goalkeeper sprint tournament olympics "
        "athlete football tennis cyclist medalist underdog training wrestler racket final rookie playoff",
        "locker quarterback knockout scoreboard dunk skateboard pitcher halftime racetrack cheerleader",
        "wicket regatta batsman rower mountaineer steeplechase grandmaster fencing umpire handicap",
    ),
    "music": _theme(
        "violin orchestra melody singer guitar concert piano jazz drummer symphony opera chorus ballad rhythm "
        "conductor band cello trumpet audition composer nightclub tour accordion lullaby encore",
        "soundtrack karaoke rapper turntable rockstar microphone groupie amplifier roadie playlist",
        "sonata libretto nocturne cantata fugue harpsichord lute maestro hymn quartet",
    ),
}

TONES = {
    "dark": _words("bleak grim sombre brutal tragic merciless haunted sinister desolate bitter ruthless harrowing"),
    "light": _words("playful sunny tender gentle hopeful witty cheerful whimsical warm joyful charming merry"),
}

# Acclaim: sampling weight of an item within its theme -> phrases in its description.
ACCLAIM = {
    4: ("An award favourite", "A beloved masterpiece", "Acclaimed and celebrated", "A prize winning triumph"),
    2: ("Warmly received", "A solid success", "Praised by many", "A reliable choice"),
    1: ("An overlooked curiosity", "Divided its audience", "A minor effort", "Quietly forgotten"),
}

# The words below do not depend on the theme.
ADJECTIVES = _words(
    "Last First Silent Broken Golden Hidden Long Lost Red Empty Second Crooked Distant Little Hollow Seventh Blue "
    "Paper Borrowed Wooden Winter Northern Secret Endless Forgotten Pale Burning Quiet Narrow Glass"
)
PLACES = _words(
    "Lisbon Vienna Kyoto Boston Cairo Bergen Odessa Naples Dublin Havana Prague Chicago Lagos Seville Tallinn "
    "Mumbai Quebec Marseille Glasgow Istanbul Montreal Krakow Savannah Valencia"
)
ROLES = _words(
    "widow teacher nurse clerk twin stranger orphan lawyer farmer gardener librarian carpenter postman tailor "
    "student translator banker plumber barber janitor"
)
FIRST_NAMES = _words(
    "Clara Hugo Ines Martin Nora Felix Agnes Tomas Vera Oscar Lucia Emil Greta Samuel Irene Victor Alma Jonas "
    "Petra Walter Rosa Edgar Lena Bruno"
)
LAST_NAMES = _words(
    "Almeida Berg Castellan Dorsey Ekman Ferrante Grady Holloway Ivers Janssen Keller Lindqvist Moreau Novak "
    "Okafor Pellegrin Quinn Rossi Sandoval Thorne Ullman Varga Whitlock Zamora"
)
VERBS = _words("follows remembers inherits questions guards discovers abandons defends confronts chases repairs trades")
ERAS = (
    "before the railway",
    "during one long winter",
    "over a single night",
    "across three decades",
    "after the great flood",
    "in the seventies",
    "at the turn of the century",
    "through a hot summer",
    "on the eve of an election",
    "in a year of strikes",
    "between two springs",
    "in the early nineties",
)

STYLES = {
    "films": _words("drama comedy thriller satire portrait fable remake debut sequel epic miniature anthology"),
    "books": _words("novel novella satire memoir fable debut saga sequel epic anthology monologue mosaic"),
}
FORMATS = {
    "films": ("Blu-ray", "DVD", "Widescreen", "Restored print", "Directors cut", "Box set", "Stream", "Steelbook"),
    "books": ("Paperback", "Hardcover", "Large print", "Audiobook", "Pocket edition", "Box set", "Ebook", "Clothbound"),
}
PRICES = {  # the lowest and the highest of a format, in whole units of a currency; 0.90 is added
    "Blu-ray": (13, 21),
    "DVD": (6, 12),
    "Widescreen": (9, 15),
    "Restored print": (17, 26),
    "Directors cut": (15, 23),
    "Stream": (2, 5),
    "Steelbook": (23, 34),
    "Box set": (32, 58),
    "Paperback": (9, 14),
    "Hardcover": (18, 27),
    "Large print": (15, 22),
    "Audiobook": (12, 24),
    "Pocket edition": (6, 9),
    "Ebook": (4, 9),
    "Clothbound": (24, 36),
}
LABELS = {
    "films": ("Lantern Pictures", "Meridian Studio", "Foxglove Cinema", "Harrow Films", "Atlas Screen", "Birch House"),
    "books": (
        "Lantern Press",
        "Meridian Library",
        "Foxglove Classics",
        "Harrow Books",
        "Atlas Editions",
        "Birch House",
    ),
}
