"""What the findings of pruning studies say, in English and Turkish; no suffix follows a number or a name."""

from __future__ import annotations

FINDINGS: dict[str, dict[str, str]] = {
    "original": {
        "en": "The original {model}, unpruned: test accuracy {accuracy}.",
        "tr": "Orijinal model ({model}, budanmamış): test doğruluğu {accuracy}.",
    },
    "item": {"en": "{name} {value}", "tr": "{name} {value}"},
    # What a difference is worth
    "worth_seeds": {
        "en": "95% paired t-interval over {n} seeds {interval}: {verdict}.",
        "tr": "{n} tohum üzerinden eşli %95 t aralığı {interval}: {verdict}.",
    },
    "worth_images": {
        "en": "95% bootstrap interval over the {n} test images {interval}: {verdict}.",
        "tr": "{n} test görüntüsü üzerinden %95 bootstrap aralığı {interval}: {verdict}.",
    },
    "worth_none": {
        "en": "Whether this is more than noise is not known: the runs of the two do not pair.",
        "tr": "Bunun gürültüden fazlası olup olmadığı bilinmiyor: ikisinin koşuları eşlenmiyor.",
    },
    "seeds_up": {
        "en": "above zero, beyond the noise between seeds",
        "tr": "sıfırın üzerinde, tohumlar arası gürültünün ötesinde",
    },
    "seeds_down": {
        "en": "below zero, beyond the noise between seeds",
        "tr": "sıfırın altında, tohumlar arası gürültünün ötesinde",
    },
    "seeds_open": {
        "en": "it holds zero, these seeds do not tell an effect from noise",
        "tr": "sıfırı içeriyor, bu tohumlar bir etkiyi gürültüden ayırmaya yetmiyor",
    },
    "images_up": {
        "en": "above zero, as far as the test images go",
        "tr": "test görüntülerinin elverdiği ölçüde sıfırın üzerinde",
    },
    "images_down": {
        "en": "below zero, as far as the test images go",
        "tr": "test görüntülerinin elverdiği ölçüde sıfırın altında",
    },
    "images_open": {
        "en": "it holds zero, the test images alone leave the sign open",
        "tr": "sıfırı içeriyor, test görüntüleri tek başına işareti açık bırakıyor",
    },
    "intervals_seeds": {
        "en": "95% paired t-intervals over {n} seeds",
        "tr": "{n} tohum üzerinden eşli %95 t aralıkları",
    },
    "intervals_images": {
        "en": "95% bootstrap intervals over the {n} test images",
        "tr": "{n} test görüntüsü üzerinden %95 bootstrap aralıkları",
    },
    "intervals_none": {"en": "no intervals", "tr": "aralık yok"},
    # Who is first
    "winner": {
        "en": "{setting}, {scope}, after plain fine-tuning: {first} comes first with {accuracy}, {points} points above "
        "the second, {second}, with {second_accuracy}.",
        "tr": "{setting}, {scope}, düz ince ayardan sonra: birinci {first}, doğruluk {accuracy}; ikinci {second}, "
        "doğruluk {second_accuracy}; aradaki fark {points} puan.",
    },
    "tie": {
        "en": "{setting}, {scope}, after plain fine-tuning: {first} come first together, with {accuracy}.",
        "tr": "{setting}, {scope}, düz ince ayardan sonra: birinciliği paylaşanlar {first}, doğruluk {accuracy}.",
    },
    "only": {
        "en": "{setting}, {scope}, after plain fine-tuning: {first} reaches {accuracy}; no other criterion has runs.",
        "tr": "{setting}, {scope}, düz ince ayardan sonra: {first}, doğruluk {accuracy}; başka ölçütün koşusu yok.",
    },
    "picked": {
        "en": "First and second were read off these same numbers, which flatters the gap.",
        "tr": "Birinci ve ikinci bu aynı sayılardan okundu; bu, farkı olduğundan büyük gösterebilir.",
    },
    "report_same": {
        "en": "The report{at} has {name} first as well ({accuracy}).",
        "tr": "Rapor{at} da aynı ölçütü birinci veriyor: {name} ({accuracy}).",
    },
    "report_shared": {
        "en": "The report{at} has {name} first ({accuracy}), which shares the first place here.",
        "tr": "Rapor{at} tek bir ölçütü birinci veriyor: {name} ({accuracy}); burada birinciliği paylaşıyor.",
    },
    "report_other": {
        "en": "The report{at} has {name} first ({accuracy}); here its place is {place} of {count}, with {ours}.",
        "tr": "Rapor{at} başka bir ölçütü birinci veriyor: {name} ({accuracy}); burada {count} ölçüt içindeki sırası "
        "{place}, doğruluğu {ours}.",
    },
    "report_absent": {
        "en": "The report{at} has {name} first ({accuracy}), which has no runs here.",
        "tr": "Rapor{at} şunu birinci veriyor: {name} ({accuracy}); burada koşusu yok.",
    },
    "at_equal_ratio": {"en": ", at equal ratio,", "tr": " (eşit kanal oranında)"},
    # Random, and what is kept
    "random": {
        "en": "{setting}, against channels removed at random ({accuracy}), in points: {items} ({intervals}). {above} "
        "of {count} criteria lie above random, {sure} of them with an interval above zero.",
        "tr": "{setting}, rastgele kanal çıkarmaya ({accuracy}) göre fark, puan: {items} ({intervals}). {count} "
        "ölçütten rastgelenin üzerinde olan: {above}; aralığı sıfırın üzerinde olan: {sure}.",
    },
    "not_above": {"en": "Not above random: {names}.", "tr": "Rastgelenin üzerinde olmayan: {names}."},
    "kept": {
        "en": "{setting}: share of the original's accuracy kept after fine-tuning: {items}.",
        "tr": "{setting}: ince ayardan sonra orijinal modelin doğruluğundan kalan pay: {items}.",
    },
    "in_report": {"en": "{value} (report {reported})", "tr": "{value} (rapor {reported})"},
    # Distilled against plain
    "distilled": {
        "en": "{setting}: fine-tuning with the original as teacher minus plain fine-tuning, mean over {count} criteria "
        "{difference} points; {above} of {count} gain.",
        "tr": "{setting}: orijinal modelin öğretmen olduğu ince ayar eksi düz ince ayar, {count} ölçüt ortalaması "
        "{difference} puan; kazanan ölçüt sayısı {above}.",
    },
    # Global against layer-wise, one network against another
    "scopes": {
        "en": "Global minus layer-wise, {model}, {setting}, in points: {items}; mean over {count} "
        "criteria {difference} points.",
        "tr": "Global eksi katman bazlı, {model}, {setting}, puan: {items}; {count} ölçüt "
        "ortalaması {difference} puan.",
    },
    "scopes_size": {
        "en": "Averaged over them, size changes by {first} with global pruning and by {second} layer by layer.",
        "tr": "Bu ölçütlerin ortalamasında boyut değişimi global budamada {first}, katman bazlı budamada {second}.",
    },
    "report_list": {"en": "The report: {items}.", "tr": "Rapor: {items}."},
    "networks": {
        "en": "Change of accuracy against each network's own original, {scope}, {setting}, in points. "
        "{first_name}: {first}. {second_name}: {second}. {fewer} of {count} criteria keep more on {first_name}; the "
        "mean difference is {difference} points.",
        "tr": "Her ağın kendi orijinal modeline göre doğruluk değişimi, {scope}, {setting}, puan. {first_name}: "
        "{first}. {second_name}: {second}. {count} ölçütten {first_name} üzerinde daha çok doğruluk koruyan: {fewer}; "
        "ortalama fark {difference} puan.",
    },
    "one_original": {
        "en": "Each original is one training, whose own chance is not in this.",
        "tr": "Her orijinal model tek bir eğitimdir; onun kendi rastlantısı buna dahil değil.",
    },
    "report_networks": {
        "en": "The report: {first_name} {first}; {second_name} {second}.",
        "tr": "Rapor: {first_name} {first}; {second_name} {second}.",
    },
    "other_images": {
        "en": "Study {study} was not tested on the same images: no difference is given.",
        "tr": "{study} çalışması aynı görüntülerde sınanmadı: fark verilmiyor.",
    },
    # Latency
    "latency": {
        "en": "Latency, batch of {n}, {setting}: the original takes {original} ms {quartiles}. {parts}.",
        "tr": "Gecikme, yığın boyutu {n}, {setting}: orijinal model {original} ms {quartiles}. {parts}.",
    },
    "faster": {"en": "Faster, quartiles apart: {items}", "tr": "Daha hızlı, çeyreklikler ayrık: {items}"},
    "no_gain": {"en": "No gain, quartiles overlap: {items}", "tr": "Kazanç yok, çeyreklikler örtüşüyor: {items}"},
    "slower": {"en": "Slower, quartiles apart: {items}", "tr": "Daha yavaş, çeyreklikler ayrık: {items}"},
    "times": {"en": "{ms} ms ({ratio} times)", "tr": "{ms} ms (oran {ratio})"},
    "reasons": {
        "en": "Likely reasons why fewer channels do not save time in proportion, not measured apart: {size}the pruned "
        "networks have {odd} layers with an odd channel count (the original {base}), which vector units handle badly.",
        "tr": "Daha az kanalın aynı oranda zaman kazandırmamasının olası nedenleri, ayrı ayrı ölçülmedi: {size}"
        "budanmış ağlarda kanal sayısı tek olan katman sayısı {odd} (orijinal modelde {base}) ve vektör birimleri "
        "bunları verimsiz işliyor.",
    },
    "small_images": {
        "en": "images of {here} leave a layer so little arithmetic that its fixed cost weighs most; ",
        "tr": "{here} görüntülerde katman başına düşen hesap o kadar az ki sabit maliyet ağır basıyor; ",
    },
    "none_slower": {
        "en": "No pruned network is slower than the original beyond the quartiles: no sign of anything left on them "
        "that costs time.",
        "tr": "Hiçbir budanmış ağ, çeyrekliklerin ötesinde orijinal modelden yavaş değil: üzerlerinde zaman harcatan "
        "bir kalıntının izi yok.",
    },
    "some_slower": {
        "en": "Slower than the original beyond the quartiles: {items}.",
        "tr": "Çeyrekliklerin ötesinde orijinal modelden yavaş olanlar: {items}.",
    },
    "slower_item": {"en": "{name} (batch of {n}, {setting})", "tr": "{name} (yığın boyutu {n}, {setting})"},
    "report_slow": {
        "en": "Latency as a multiple of the original's, batch of 1: {items}.",
        "tr": "Gecikmenin orijinal modele oranı, yığın boyutu 1: {items}.",
    },
    # Squeeze-excite
    "collapse": {
        "en": "Squeeze-excite bottlenecks left open, {setting}: a layer collapses, {channels} channels ({name}, "
        "{layer}).",
        "tr": "Squeeze-excite darboğazları açıkken, {setting}: bir katman çöküyor, {channels} kanal ({name}, {layer}).",
    },
    "narrowest": {
        "en": "Squeeze-excite bottlenecks left open, {setting}: no layer collapses; the narrowest keeps {channels} "
        "channels ({name}, {layer}).",
        "tr": "Squeeze-excite darboğazları açıkken, {setting}: çöken katman yok; en dar katman {channels} kanal "
        "({name}, {layer}).",
    },
    "when_protected": {
        "en": "Protected, the narrowest has {channels} ({name}, {layer}).",
        "tr": "Korunduklarında en dar katman {channels} ({name}, {layer}).",
    },
    "protected_gap": {
        "en": "Protected minus open, mean over {count} criteria: {difference} points.",
        "tr": "Korumalı eksi açık, {count} ölçüt ortalaması: {difference} puan.",
    },
}
