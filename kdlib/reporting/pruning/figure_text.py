"""What the figures of pruning say, in English and Turkish. As in `text`, no suffix follows a number or a name."""

from __future__ import annotations

BOOK: dict[str, dict[str, str]] = {
    # Names of things
    "original": {"en": "original", "tr": "orijinal model"},
    "plain": {"en": "labels only", "tr": "yalnız etiketler"},
    "epoch_zero": {"en": "pruned", "tr": "budanmış"},
    "distilled": {"en": "distilled", "tr": "damıtılmış"},
    "ratio": {"en": "ratio {ratio}", "tr": "oran {ratio}"},
    "matched": {"en": "{macs} of MACs kept", "tr": "kalan MACs {macs}"},
    "protected": {"en": "squeeze-excite protected", "tr": "squeeze-excite korumalı"},
    "global": {"en": "global", "tr": "global"},
    "layerwise": {"en": "layer-wise", "tr": "katman bazlı"},
    "error_sd": {
        "en": "Error bars, where there are several seeds: ± standard deviation over seeds.",
        "tr": "Hata çubukları, birden çok tohum olan yerlerde: tohumlar arası ± standart sapma.",
    },
    "left_out": {
        "en": "Runs that diverged and are left out: {runs}.",
        "tr": "Iraksadığı için gösterilmeyen koşu sayısı: {runs}.",
    },
    # Accuracy against cost
    "pareto_title": {
        "en": "{model}, {scope} pruning: accuracy against cost",
        "tr": "{model}, {scope} budama: maliyete göre doğruluk",
    },
    "macs_axis": {"en": "MACs kept (% of the original)", "tr": "Kalan MACs (orijinal modele göre %)"},
    "size_axis": {"en": "Size of parameters and buffers (MiB)", "tr": "Parametre ve tamponların boyutu (MiB)"},
    "report_setting": {"en": "large: {setting}", "tr": "büyük: {setting}"},
    "other_settings": {"en": "small: other settings", "tr": "küçük: diğer ayarlar"},
    "hollow": {"en": "hollow: distilled", "tr": "içi boş: damıtılmış"},
    "front": {"en": "none better for less", "tr": "daha azıyla daha iyisi yok"},
    "pareto_caption": {
        "en": "Test accuracy after fine-tuning against MACs (left) and size (right); {count} settings and the original "
        "({original}, {size} MiB). Large markers: {setting}; small: the study's other settings; hollow: fine-tuned "
        "with the original as teacher. The thin line joins the models for which there is none at least as accurate "
        "for less; by MACs: {front}.",
        "tr": "İnce ayar sonrası test doğruluğu; solda MACs, sağda boyut. {count} ayar ve orijinal model ({original}, "
        "{size} MiB). Büyük işaretler: {setting}; küçükler: çalışmanın diğer ayarları; içi boş: orijinal model "
        "öğretmen olarak ince ayar. İnce çizgi, daha azıyla en az o kadar doğru olanı bulunmayan modelleri "
        "birleştiriyor; MACs için: {front}.",
    },
    "front_point": {"en": "{name} {accuracy}", "tr": "{name} {accuracy}"},
    # Accuracy against ratio
    "sweep_title": {
        "en": "{model}, {scope} pruning: accuracy by pruning ratio",
        "tr": "{model}, {scope} budama: budama oranına göre doğruluk",
    },
    "ratio_axis": {"en": "Pruning ratio (% of channels)", "tr": "Budama oranı (kanal payı, %)"},
    "before_tuning": {"en": "Right after pruning", "tr": "Budamanın hemen ardından"},
    "after_tuning": {"en": "After fine-tuning", "tr": "İnce ayardan sonra"},
    "chance": {"en": "chance", "tr": "şans düzeyi"},
    "sweep_caption": {
        "en": "Test accuracy against the share of channels asked to leave, right after pruning and after fine-tuning; "
        "each panel has a scale of its own. Dashed: the original ({original}); dotted, where the scale reaches it: "
        "chance ({chance}). At {highest}: {ends}.",
        "tr": "Çıkarılması istenen kanal payına göre test doğruluğu; solda budamanın hemen ardından, sağda ince "
        "ayardan sonra. Her panelin ölçeği kendine ait. Kesikli: orijinal model ({original}); noktalı, ölçekte yeri "
        "varsa: şans düzeyi ({chance}). Oran {highest} iken: {ends}.",
    },
    # Fine-tuning brings it back
    "recovery_title": {
        "en": "{model}, {scope} pruning: recovery",
        "tr": "{model}, {scope} budama: toparlanma",
    },
    "validation_axis": {"en": "Validation accuracy (%)", "tr": "Doğrulama doğruluğu (%)"},
    "recovery_caption": {
        "en": "Validation accuracy over the epochs of fine-tuning; epoch 0 is the network right after pruning. Solid: "
        "labels only; dashed: the original as teacher; black: the original ({original}); grey: the other criteria. "
        "{told}.",
        "tr": "İnce ayar epokları boyunca doğrulama doğruluğu; epok 0, budamanın hemen ardındaki ağ. Düz çizgi: yalnız "
        "etiketler; kesikli: orijinal model öğretmen; siyah: orijinal model ({original}); gri: diğer ölçütler. {told}.",
    },
    "recovery_row": {"en": "At {setting}: {ends}", "tr": "Ayar {setting}: {ends}"},
    "recovery_line": {"en": "{name} from {start} to {ends}", "tr": "{name} {start} → {ends}"},
    "recovery_end": {"en": "{end} ({role})", "tr": "{end} ({role})"},
    "recovery_or": {"en": " or ", "tr": " ya da "},
    "others": {"en": "other criteria", "tr": "diğer ölçütler"},
    # Channels left
    "channels_title": {
        "en": "{model}, {scope} pruning: channels left, layer by layer",
        "tr": "{model}, {scope} budama: katman katman kalan kanallar",
    },
    "layer_axis": {
        "en": "Layers, in network order ({layers})",
        "tr": "Katmanlar, ağdaki sırayla ({layers})",
    },
    "left_axis": {"en": "Channels left (%)", "tr": "Kalan kanallar (%)"},
    "channels_panel": {
        "en": "{criterion}: {removed} of channels removed; least left in a layer {least}",
        "tr": "{criterion}: çıkarılan kanal payı {removed}; bir katmanda en az kalan {least}",
    },
    "channels_caption": {
        "en": "Share of its channels that each layer keeps at {setting}{seeds}; coupled layers count once, "
        "under the first. Black line: share kept over all that are not protected.{protected} Fewest left: {least}.",
        "tr": "Her katmanda kalan kanal payı, ayar {setting}{seeds}; bağlı katmanlar bir kez, "
        "ilkinin adıyla sayılıyor. Siyah çizgi: korunmayanların tümünde kalan pay.{protected} En az kalan: {least}.",
    },
    "over_seeds": {"en": ", mean over seeds", "tr": ", tohumlar üzerinden ortalama"},
    "protected_mark": {"en": "protected", "tr": "korunan"},
    "protected_drawn": {
        "en": " Hatched: protected, {reasons}.",
        "tr": " Taralı: korunan, {reasons}.",
    },
    "protected_absent": {
        "en": " Protected and not drawn: {reasons}.",
        "tr": " Korunan ve çizilmeyen: {reasons}.",
    },
    "least_layer": {
        "en": "{criterion}, {layer}: {left} of {of} channels",
        "tr": "{criterion}, {layer}: {of} kanaldan {left} tanesi",
    },
    "output": {"en": "output layer ({n})", "tr": "çıkış katmanı ({n})"},
    "squeeze-excite": {"en": "squeeze-excite ({n})", "tr": "squeeze-excite ({n})"},
    "asked": {"en": "kept as asked ({n})", "tr": "istenerek korunan ({n})"},
    "not prunable": {"en": "cannot be pruned ({n})", "tr": "budanamayan ({n})"},
}
