"""The words and codes for parts of the body, as tables (PS3.16 CID 4031 and annex L, and what vendors write)."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

# Regions that are musculoskeletal but are no single one of our codes, and regions that are not ours.
LIMB: Final = "musculoskeletal"
OTHER: Final = "other:"

# Words for each region: English, German, French, Spanish, Italian, Dutch; lower case, without accents. A word stands
# for itself only, never for a part of a longer one, and the longest that is found in a text decides.
_WORDS: Final = {
    "XR_SHOULDER": (
        "shoulder, shoulders, glenohumeral, acromioclavicular, ac joint, ac joints, acj, acromion, schulter, "
        "schultern, schultergelenk, acg, acromioclaviculargelenk, ac gelenk, epaule, epaules, hombro, hombros, "
        "spalla, spalle, schouder, schouders"
    ),
    "XR_CLAVICLE": (
        "clavicle, clavicles, clavicula, collar bone, collarbone, schluesselbein, schlusselbein, klavikula, "
        "clavicule, clavicules, claviculas, clavicola, clavicole, sleutelbeen, sternoclavicular joint, sc joint, sc "
        "joints"
    ),
    "XR_SCAPULA": (
        "scapula, scapulae, shoulder blade, schulterblatt, skapula, omoplate, escapula, omoplato, scapole, schouderblad"
    ),
    "XR_HUMERUS": (
        "humerus, humeral head, tete humerale, upper arm, upperarm, arm, oberarm, bras, humero, brazo, omero, "
        "braccio, bovenarm"
    ),
    "XR_ELBOW": (
        "elbow, elbows, olecranon, radial head, radial neck, ellbogen, ellenbogen, ellbogengelenk, ellenbogengelenk, "
        "radiuskopf, radiuskoepfchen, radiuskopfchen, coude, coudes, codo, codos, gomito, gomiti, elleboog, ellebogen"
    ),
    "XR_FOREARM": (
        "forearm, forearms, fore arm, lower arm, radius, ulna, radius ulna, radiusulna, radius and ulna, unterarm, "
        "avant bras, avantbras, antebrazo, avambraccio, onderarm, radio y cubito, cubito"
    ),
    "XR_WRIST": (
        "wrist, wrists, carpus, carpal, scaphoid, navicular wrist, distal radius, handgelenk, handgelenke, "
        "handwurzel, kahnbein, skaphoid, poignet, poignets, scaphoide, muneca, munecas, polso, polsi, scafoide, pols, "
        "polsen, distale radius, distaler radius"
    ),
    "XR_HAND": (
        "hand, hands, metacarpal, metacarpals, metacarpus, bone age, hande, haende, mittelhand, knochenalter, main "
        "droite, main gauche, main d, main g, mains, la main, main dte, main gche, age osseux, mano, manos, mani, "
        "edad osea, eta ossea, handen, handleeftijd, middenhand"
    ),
    "XR_FINGER": (
        "finger, fingers, thumb, thumbs, digit, digits, index finger, middle finger, ring finger, little finger, "
        "daumen, zeigefinger, mittelfinger, ringfinger, kleinfinger, doigt, doigts, pouce, pouces, dedo, dedos, dedo "
        "mano, dedo de la mano, dedos de la mano, pulgar, dito, dita, dito mano, dito della mano, pollice, vinger, "
        "vingers, duim, duimen, finger hand"
    ),
    "XR_HIP": (
        "hip, hips, hip joint, hip joints, proximal femur, femoral head, neck of femur, hip to knee, femoral neck, "
        "hufte, huefte, huften, hueften, huftgelenk, hueftgelenk, lauenstein, schenkelhals, hanche, hanches, cadera, "
        "caderas, anca, anche, heup, heupen"
    ),
    "XR_PELVIS": (
        "pelvis, pelvic, hip and pelvis, pelvis and hip, pelvis hips, pelvis hip, pelvis and hips, sacroiliac, "
        "sacroiliac joint, sacroiliac joints, si joint, si joints, sij, symphysis, acetabulum, becken, "
        "beckenubersicht, beckenuebersicht, isg, bassin, sacro iliaque, sacro iliaques, bacino, bekken, "
        "bekkenoverzicht"
    ),
    "XR_FEMUR": (
        "femur, femora, femurs, thigh, upper leg, upperleg, oberschenkel, cuisse, muslo, femore, coscia, bovenbeen, "
        "dijbeen, dij"
    ),
    "XR_KNEE": (
        "knee, knees, knee joint, patella, patellae, patellofemoral, kneecap, tunnel view, knie, kniegelenk, "
        "kniegelenke, kniescheibe, genou, genoux, rotule, rotules, rodilla, rodillas, rotula, ginocchio, ginocchia, "
        "knieen, knieschijf, distal femur, tibial plateau"
    ),
    "XR_LOWER_LEG": (
        "lower leg, lowerleg, leg, legs, tibia, fibula, fibular head, tib fib, tibfib, tibia fibula, tibiafibula, "
        "tibia and fibula, calf, shin, unterschenkel, wadenbein, schienbein, jambe, jambes, "
        "tibia perone, pierna, piernas, tibia y perone, gamba, gambe, tibia e perone, onderbeen, scheenbeen, kuitbeen"
    ),
    "XR_ANKLE": (
        "ankle, ankles, ankle joint, malleolus, malleoli, talus, distal tibia, sprunggelenk, sprunggelenke, osg, "
        "oberes sprunggelenk, knochel, knoechel, cheville, chevilles, tobillo, tobillos, caviglia, caviglie, enkel, "
        "enkels"
    ),
    "XR_FOOT": (
        "foot, feet, forefoot, hindfoot, midfoot, calcaneus, calcanei, calcaneum, os calcis, heel, heels, metatarsal, "
        "metatarsals, metatarsus, tarsus, metatarsal head, metatarsal heads, sinus tarsi, fuss, fusse, fuesse, "
        "vorfuss, mittelfuss, ruckfuss, rueckfuss, fersenbein, kalkaneus, ferse, pied, pieds, avant pied, talon, pie, "
        "pies, calcaneo, piede, piedi, calcagno, tallone, voet, voeten, hiel, hielbeen, voorvoet, middenvoet"
    ),
    "XR_TOE": (
        "toe, toes, foot digit, foot digits, digits foot, great toe, big toe, hallux, zehe, zehen, grosszehe, orteil, "
        "orteils, gros orteil, dedo pie, dedo del pie, dedos del pie, dedo de pie, dedos pie, dito piede, dito del "
        "piede, dita del piede, alluce, teen, tenen, grote teen"
    ),
    "XR_CERVICAL_SPINE": (
        "cervical spine, c spine, cspine, cervical, neck spine, odontoid, dens, hws, halswirbelsaule, "
        "halswirbelsaeule, rachis cervical, rachis cervicale, columna cervical, rachide cervicale, colonna cervicale, "
        "cervicale, cwk, cervicale wervelkolom, halswervelkolom, cervicothoracic spine, ctspine"
    ),
    "XR_THORACIC_SPINE": (
        "thoracic spine, t spine, tspine, dorsal spine, d spine, dspine, bws, brustwirbelsaule, brustwirbelsaeule, "
        "rachis thoracique, rachis dorsal, columna dorsal, columna toracica, rachide dorsale, colonna dorsale, twk, "
        "thoracale wervelkolom, borstwervelkolom, thoracolumbar spine, thoracolumbar, tlspine, t l spine"
    ),
    "XR_LUMBAR_SPINE": (
        "lumbar spine, l spine, lspine, lumbosacral spine, lumbar, lumbosacral, ls spine, lsspine, l s spine, lws, "
        "lendenwirbelsaule, lendenwirbelsaeule, rachis lombaire, lombaire, columna lumbar, columna lumbosacra, "
        "rachide lombare, rachide lombosacrale, colonna lombare, lwk, lumbale wervelkolom, lendenwervelkolom"
    ),
    "XR_SPINE": (
        "spine, whole spine, full spine, entire spine, scoliosis, wirbelsaule, wirbelsaeule, ganzwirbelsaule, "
        "skoliose, rachis, rachis entier, scoliose, columna, columna vertebral, escoliosis, colonna, colonna "
        "vertebrale, rachide, scoliosi, wervelkolom"
    ),
    "XR_SACRUM": (
        "sacrum, coccyx, sacrum coccyx, sacrum and coccyx, sspine, s spine, sacrococcygeal, tailbone, kreuzbein, "
        "steissbein, sacrum et coccyx, sacro, coxis, coccige, stuit, heiligbeen, staartbeen"
    ),
    "XR_RIBS": (
        "rib, ribs, rib cage, ribcage, hemithorax, ribs chest, chest ribs, ribs and chest, chest and ribs, bony "
        "thorax, rippe, rippen, rippenthorax, knocherner thorax, hemithorax knochern, gril costal, cotes, costilla, "
        "costillas, parrilla costal, coste, costola, costato, emitorace, ribben"
    ),
    "XR_STERNUM": "sternum, sternal, breast bone, breastbone, brustbein, esternon, sterno, borstbeen",
    LIMB: (
        "extremity, extremities, lower extremity, lowerextremity, upper extremity, upperextremity, "
        "lower extremities, upper extremities, lower limb, upper limb, low exm, up exm, lowexm, upexm, "
        "low extremity, up extremity, lower ext, upper ext, "
        "long leg, long legs, full leg, full length leg, leg length, hip to ankle, bone survey, "
        "skeletal survey, skeleton, "
        "skelett, extremitat, extremitaet, ganzbein, ganzbeinaufnahme, beinachse, bein, membre, membre inferieur, "
        "membre superieur, pangonogramme, extremidad, extremidad inferior, extremidad superior, miembro inferior, "
        "miembro superior, telemetria, arto, arto inferiore, arto superiore, extremiteit, extremiteiten, beenlengte, "
        "beenas"
    ),
    OTHER + "chest": (
        "chest, thorax, lung, lungs, chest pa, heart, portable chest, chest wall, lunge, lungen, herz, torax, poumon, "
        "poumons, pulmon, pulmones, torace, polmone, polmoni, longen, cxr, cardiac"
    ),
    OTHER + "the abdomen": (
        "abdomen, abdominal, kub, chest abdomen, chest and abdomen, chestabdomen, abdomen pelvis, abdomen and pelvis, "
        "abdomenpelvis, bauch, abdomenubersicht, abdomenuebersicht, abdomen sans preparation, abdome, addome, buik, "
        "buikoverzicht, bowel, stomach, colon, esophagus, oesophagus, kidney, kidneys, bladder, gallbladder, ureter, "
        "urethra, liver, ivp, ivu, barium, swallow, small bowel, uterus"
    ),
    OTHER + "the skull": (
        "skull, head, cranium, facial bones, orbit, orbits, sinus, sinuses, paranasal sinuses, nasal bone, nasal "
        "bones, nose, zygoma, schadel, schaedel, nasennebenhohlen, nasennebenhoehlen, nnh, nasenbein, kopf, crane, "
        "sinus de la face, craneo, senos paranasales, cranio, seni paranasali, schedel, sella"
    ),
    OTHER + "the jaw or teeth": (
        "jaw, mandible, maxilla, tooth, teeth, dental, opg, opt, panorex, orthopantomogram, orthopantomogramm, "
        "panoramic, tmj, tm joint, tm joints, temporomandibular, kiefer, unterkiefer, oberkiefer, kiefergelenk, zahn, "
        "zahne, zaehne, mandibule, dents, dent, mandibula, dientes, mandibola, denti, kaak, tanden"
    ),
    OTHER + "the neck": "neck, soft tissue neck, neck soft tissue, soft tissues neck, larynx, trachea, airway, airways",
    OTHER + "the breast": (
        "breast, breasts, mammography, mammogram, mamma, mammae, brust, mammographie, sein, seins, mama, mamas, "
        "mammella, borst"
    ),
}

# SNOMED CT concept ids, and the SRT codes that older systems write (PS3.16 annex D and CID 4031).
_CODES: Final = {
    "XR_SHOULDER": "16982005 T-D2220 85856004 T-15420 26444007 T-12200 T-15410 31398001 31934006 T-12281",
    "XR_CLAVICLE": "51299004 T-12310 7844006 T-15610",
    "XR_SCAPULA": "79601000 T-12280 8931003 T-12282 46385009 T-1228A",
    "XR_HUMERUS": "40983000 T-D8200 85050009 T-12410 20760004 T-12412 119524001 T-1240F 118495001 T-1241F",
    "XR_ELBOW": "16953009 T-15430 127949000 T-D8300 12881000 T-1242A 34318004 T-1243A",
    "XR_FOREARM": "14975008 T-D8500 110535000 T-12403 62413002 T-12420 23416004 T-12430 47728000 T-12423 "
    "21133008 T-12435",
    "XR_WRIST": "74670003 T-15460 8205005 T-D8600 75129005 T-1242B 91238003 T-1243B",
    "XR_HAND": "85562004 T-D8700 24097009 T-12600",
    "XR_FINGER": "7569003 T-D8800 76505004 T-D8810 125682004 T-15516",
    "XR_HIP": "24136001 T-15710 29836001 T-D2500 2812003 T-12711 310651003 T-D078C",
    "XR_PELVIS": "816092008 118645006 T-12375 12921003 T-D6000 39723000 T-15680 22356005 T-12340",
    "XR_FEMUR": "71341001 T-12710 68367000 T-D9100 41111004 T-12717",
    "XR_KNEE": "72696002 T-D9200 49076000 T-15720 64234005 T-12730 310652005 T-D078D 32361000 T-D9310",
    "XR_LOWER_LEG": "30021000 T-D9400 12611008 T-12740 87342007 T-12750 110536004 T-12701 52687003 T-12746 "
    "53840002 T-D9440",
    "XR_ANKLE": "70258002 T-15750 344001 T-D9500 64605006 T-1274B 314796009 T-127A7",
    "XR_FOOT": "56459004 T-D9700 80144004 T-12770 27949001 T-15770 58742003 T-12980",
    "XR_TOE": "29707007 T-D9800",
    "XR_CERVICAL_SPINE": "122494005 T-11501 1217257000 297171002 T-D00F7",
    "XR_THORACIC_SPINE": "122495006 T-11502 1217256009 297172009 T-D00F8",
    "XR_LUMBAR_SPINE": "122496007 T-11503 1217253001 243898001 T-D0059 297173004 T-D00F9 52612000",
    "XR_SPINE": "421060004 T-D04FF 51282000 T-11510",
    "XR_SACRUM": "54735007 T-11AD0 64688005 T-11BF0 1217254007 297174005 T-D00FA",
    "XR_RIBS": "113197003 T-11300 272710004 T-D0170",
    "XR_STERNUM": "56873002 T-11210 52509009 T-11220 37285002 T-11211",
    LIMB: (
        "66019005 T-D0300 61685007 T-D9000 53120007 T-D8000 72001000 T-12700 371195002 T-D0821 1231522001 416631005 "
        "R-FAB58"
    ),
    OTHER + "chest": (
        "816094009 51185008 T-D3000 43799004 T-D3200 39607008 T-28000 78904004 T-D3050 80891009 T-32000 72410000 "
        "T-D3300 417437006 R-FAB52"
    ),
    OTHER + "the abdomen": (
        "818981001 113345001 T-D4000 818982008 416949008 R-FAB57 818987002 416550000 R-FAB55 416775004 R-FAB56 "
        "80581009 T-D4001 69695003 T-57000 71854001 T-59300 32849002 T-56000 89837001 T-74000"
    ),
    OTHER + "the skull": (
        "89546000 T-11100 69536005 T-D1100 774007 T-D1000 91397008 T-11196 2095001 T-22000 89545001 T-D1200 363654007 "
        "T-D14AE 74386004 T-11149 42575006 T-D1460 12738006 T-A0100"
    ),
    OTHER + "the jaw or teeth": "661005 T-D1213 91609006 T-11180 70925003 T-11170 38199008 T-54010 53620006 T-15290",
    OTHER + "the neck": "45048000 T-D1600 4596009 T-24100 44567001 T-25000",
    OTHER + "the breast": "76752008 T-04000",
}

REGION_OF_PHRASE = MappingProxyType(
    {phrase.strip(): region for region, phrases in _WORDS.items() for phrase in phrases.split(",")}
)
REGION_OF_CODE = MappingProxyType({code: region for region, codes in _CODES.items() for code in codes.split()})
LONGEST_PHRASE = max(len(phrase.split()) for phrase in REGION_OF_PHRASE)
