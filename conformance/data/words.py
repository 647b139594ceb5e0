"""Common words of three languages: the project's own list, written for it from general knowledge.

The list is dedicated to the public domain (CC0 1.0). It has 225 words of each language, of 3 to 12 letters a to z; none
stands in it twice.
"""

from collections.abc import Mapping
from types import MappingProxyType

ENGLISH = """
about above across after against air almost alone along already always anger animal answer apple around autumn back
bath beach bean beautiful because become before begin behind believe below between bird black blood blue body bone
book bottle boy bread break breakfast breath bridge bright broken brother brown build burn business butterfly buy cake
candle careful carry castle catch chair change cheap cheese child choose circle city clean clever climb clock cloud
cold colour corner country cry cup danger daughter day death deep dinner dirty door dream dress drink drive dry each
early earth east easy eat egg eight enemy enjoy enough evening every eye face farmer father feather field fight fire
fish flower fly follow food foot forest forty friend from front fruit full garden give glass glove good grandmother
grass green grow hair half happy hard hear heart height hill history holiday horse hour hundred hungry husband island
journey kitchen knife language laugh learn leather leave letter light little lonely milk money month morning mother
mouth needle never night north nothing ocean other paper people picture please pretty quick quiet rabbit rain read
remember river shoe shoulder silver sister sleep slow small snow something stone street strong summer teacher thing
thought three tired together tomorrow tooth truth under village walk wash water week white window with woman wonderful
wood write yellow yesterday young
""".split()

GERMAN = """
abend aber acht allein antwort apfel arbeit arzt auch aufgabe ausgang bauch bauer baum beide bein berg beruf besser
bett bild birne blatt blau bleiben blume boden braun brot bruder brunnen buch burg dach dann decke denken deutsch dieb
dienstag dorf dort drei dunkel durch durst ehrlich eigen eimer einfach eltern ende erde ernst erst essen etwas fahren
farbe faul feder feiertag feind fenster feuer flasche fleisch fliegen flug fluss frau frei freitag freude freund
freundschaft frieden frucht fuchs gabel garten gast geben gefahr gegen gehen gelb geld gemeinsam geschenk geschichte
gesicht gestern gesund gewinnen gleich glocke gras haben hals haus heute hier hilfe himmel hinter hirsch hochzeit
hoffnung holz huhn hund immer insel jeder jemand jetzt jung kaffee kalt katze kaufen kein keller kennen kerze kirsche
kleid klein kochen koffer kommen krank kreis kreuz krieg kuchen kuh kurz lachen lampe langsam laufen laut lehrer
leicht leise lernen lesen licht lied luft machen manchmal mauer maus mehr mensch messer milch mittag mittwoch morgen
mutter nachbar nacht nadel nase nehmen nicht niemand pferd rechts regen richtig schiff schlafen schlecht schnee
schnell schuh schule schwarz schwein schwer schwester sohn sommer sonne spiegel spielen stadt stein stimme stuhl
stunde suchen teller tisch tochter traum treppe trinken unten vater vielleicht vogel wald wasser wein weit welt wenig
wichtig wiese wolke wort wunsch zahn zeit zimmer zug zusammen zwei zwischen
""".split()

FINNISH = """
aamu aarre aasi ahven aika aina ainoa aita alku alue ankka antaa anteeksi apu arkku askel asua auki aurinko auto
auttaa avain avata eilen haarukka hammas harmaa hauki haukka heti hevonen hidas hiiri huomenna huone hyvin ihminen iho
ikkuna ilma iloinen istua jalka joki joskus joutsen juna juosta juusto kahdeksan kahvi kakku kaksi kala karhu katto
katu kaula kaunis kauppa kaupunki keitto kello keltainen kettu kevyt kirja kirje kirjoittaa kirkko kissa kohta koira
kolme korjata korkea korva koskaan kotka koulu kuiva kukka kuppi kuu kuulla kuuma kuusi kuva kysymys laiva lammas
lamppu lapsi lasi lattia laulaa laulu lautanen lentokone leuka liha likainen lintu lohi lukea lumi lusikka lyhyt maa
maito maksaa mansikka matala mies minuutti muistaa mummo muna musta mustikka muurahainen nainen niska nopea nukkua
nuori nyt odottaa olla omena onni oppia orava ostaa otsa ottaa ovi paljon pallo peli pelko perhe perhonen peruna pieni
pilvi poika polvi puhdas puhua punainen puoli puu puuro rakastaa rakentaa rakkaus ranta raskas rauha rikas ruma rumpu
ruskea saari sade sana sanoa sata serkku sika silta sininen sipuli sisko soitin sokeri sormi sota suklaa suola suomi
surullinen susi suu suuri syksy taas taivas talo talvi tanssia taulu toivo totuus tuhat tukka tuli tulla tumma tunti
tuoli tuuli uida ukki unelma unohtaa usein uusi valkoinen vanha varvas vastaus vatsa vauva veitsi veli vene veri vesi
viha viikko voima vuosi yksi
""".split()

WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"english": tuple(ENGLISH), "german": tuple(GERMAN), "finnish": tuple(FINNISH)}
)
