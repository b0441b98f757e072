"""What the tables of pruning studies write, in English and Turkish; the findings' words are in `findings_text`.

As in `text`, no suffix follows a number or a name.
"""

from __future__ import annotations

from typing import Any

from kdlib.reporting.text import LANGS, pick

BOOK: dict[str, dict[str, str]] = {
    "original": {"en": "Original", "tr": "Orijinal"},
    "scope_global": {"en": "global", "tr": "global"},
    "scope_layerwise": {"en": "layer-wise", "tr": "katman bazlı"},
    "at_ratio": {"en": "{ratio} of channels", "tr": "kanal oranı {ratio}"},
    "at_macs": {"en": "{macs} of MACs kept", "tr": "kalan MAC payı {macs}"},
    "se_protected": {"en": ", squeeze-excite protected", "tr": ", squeeze-excite korumalı"},
    "se_open": {"en": ", squeeze-excite open", "tr": ", squeeze-excite açık"},
    # Heads and columns
    "criterion": {"en": "Criterion", "tr": "Ölçüt"},
    "setting": {"en": "Setting", "tr": "Ayar"},
    "model": {"en": "Model", "tr": "Model"},
    "scope": {"en": "Scope", "tr": "Strateji"},
    "place": {"en": "Place", "tr": "Sıra"},
    "accuracy": {"en": "Accuracy (%)", "tr": "Doğruluk (%)"},
    "accuracy_loss": {"en": "Accuracy change (points)", "tr": "Doğruluk değişimi (puan)"},
    "size": {"en": "Size (MiB)", "tr": "Boyut (MiB)"},
    "size_change": {"en": "Size change (%)", "tr": "Boyut değişimi (%)"},
    "latency": {"en": "Latency (ms)", "tr": "Gecikme (ms)"},
    "flops": {"en": "FLOPs (G)", "tr": "FLOPs (G)"},
    "flops_change": {"en": "FLOPs change (%)", "tr": "FLOPs değişimi (%)"},
    "kept": {"en": "Share of the original's accuracy (%)", "tr": "Orijinal modele göre kalan doğruluk payı (%)"},
    "macs_left": {"en": "MACs left (%)", "tr": "Kalan MAC (%)"},
    "channels_removed": {"en": "Channels removed (%)", "tr": "Çıkarılan kanal (%)"},
    "params_left": {"en": "Parameters left (%)", "tr": "Kalan parametre (%)"},
    # Configuration
    "configuration_title": {"en": "Configuration, here and in the report", "tr": "Yapılandırma: burada ve raporda"},
    "configuration_head": {"en": "Setting", "tr": "Ayar"},
    "here": {"en": "Here", "tr": "Burada"},
    "report": {"en": "Report", "tr": "Rapor"},
    "key_model": {"en": "Model", "tr": "Model"},
    "key_data": {"en": "Data", "tr": "Veri"},
    "key_train_images": {"en": "Training images", "tr": "Eğitim görüntüleri"},
    "key_test_images": {"en": "Test images", "tr": "Test görüntüleri"},
    "key_image_size": {"en": "Image size (pixels)", "tr": "Görüntü boyutu (piksel)"},
    "key_ratio": {"en": "Pruning ratio (share of channels)", "tr": "Budama oranı (kanal payı)"},
    "key_scope": {"en": "Scope", "tr": "Strateji"},
    "key_steps": {"en": "Iterative steps", "tr": "İteratif adımlar"},
    "key_epochs": {"en": "Fine-tuning epochs", "tr": "İnce ayar epokları"},
    "key_calibration_batches": {"en": "Calibration batches", "tr": "Kalibrasyon yığınları"},
    "key_classes": {"en": "Classes", "tr": "Sınıf sayısı"},
    "key_batch_size": {"en": "Batch size", "tr": "Yığın boyutu"},
    "key_criteria": {"en": "Criteria", "tr": "Ölçütler"},
    "data": {
        "en": "{name}, {train} training, {val} validation, {test} test images",
        "tr": "{name}, {train} eğitim, {val} doğrulama, {test} test görüntüsü",
    },
    "batches": {"en": "{batches} ({images} images)", "tr": "{batches} ({images} görüntü)"},
    "configuration_note": {
        "en": "Read from the records of the report's setting.",
        "tr": "Raporun ayarındaki koşuların kayıtlarından okundu.",
    },
    "network": {"en": "Network: {model}.", "tr": "Ağ: {model}."},
    # Comparison
    "comparison_title": {
        "en": "Criteria compared: {setting}, {scope}, after fine-tuning",
        "tr": "Ölçütlerin karşılaştırması: {setting}, {scope}, ince ayardan sonra",
    },
    "seeds_legend": {
        "en": "Mean ± standard deviation over seeds, which all start from one original model",
        "tr": "Tohumlar üzerinden ortalama ± standart sapma; bütün tohumlar aynı orijinal modelden başlar",
    },
    "seeds_only": {
        "en": "Mean ± standard deviation over seeds",
        "tr": "Tohumlar üzerinden ortalama ± standart sapma",
    },
    "one_seed_legend": {"en": "One seed", "tr": "Tek tohum"},
    "what_size_counts": {
        "en": "Size counts parameters and buffers, in MiB (2²⁰ bytes).",
        "tr": "Boyut, parametreleri ve tamponları sayar; birim MiB (2²⁰ bayt).",
    },
    "what_flops_count": {
        "en": "FLOPs are what thop counts for one image, that is multiply-accumulates, at {size} as in the report; "
        "accuracy and latency (batch of 1, median) are from images of {here}. The report names no hardware: of its "
        "latencies only ratios compare.",
        "tr": "FLOPs, tek görüntü için thop sayımıdır, yani çarp-topla sayısı; girdi, raporda olduğu gibi {size}. "
        "Doğruluk ve gecikme (yığın boyutu 1, medyan) için görüntü boyutu {here}. Rapor donanımı söylemez: "
        "gecikmelerinin yalnızca oranları karşılaştırılabilir.",
    },
    "measured_once": {
        "en": "FLOPs and latency are those of one seed's networks.",
        "tr": "FLOPs ve gecikme tek bir tohumun ağlarından alınmıştır.",
    },
    "hooks": {
        "en": "The report's {slow} ms for {names}, against {fast} ms for the others, cannot come from the pruned "
        "networks themselves: none of them has more to compute than the original. It smells of forward hooks left on "
        "the model.",
        "tr": "Raporda {names} için verilen {slow} ms, ötekiler için verilen {fast} ms yanında, budanmış ağların "
        "kendisinden gelemez: hiçbirinin hesaplayacağı iş orijinal modelden fazla değil. Bu fark, model üzerinde "
        "unutulmuş forward hook izlenimi veriyor.",
    },
    "diverged": {
        "en": "†k: k runs diverged and enter no mean.",
        "tr": "†k: k koşu ıraksadı ve hiçbir ortalamaya katılmadı.",
    },
    # Ranking
    "ranking_title": {
        "en": "Ranking by accuracy: {setting}, {scope}, after fine-tuning",
        "tr": "Doğruluğa göre sıralama: {setting}, {scope}, ince ayardan sonra",
    },
    "ranking_note": {
        "en": "Ranked by test accuracy, as in the report; nothing was chosen by it. The original: {accuracy}. Random "
        "removal is no method of the report but the least that a criterion has to beat.",
        "tr": "Sıralama, raporda olduğu gibi test doğruluğuna göredir; hiçbir seçim buna dayanmaz. Orijinal model: "
        "{accuracy}. Rastgele çıkarma raporda yoktur; bir ölçütün geçmesi gereken en düşük eşiktir.",
    },
    "kept_note": {
        "en": "The report's shares are worked out from its accuracies, where it prints none of its own.",
        "tr": "Raporun payları, kendisi vermediği yerde, onun doğruluklarından hesaplanmıştır.",
    },
    # Recovery
    "recovery_title": {
        "en": "Recovery: test accuracy (%) before and after fine-tuning, plain and distilled",
        "tr": "Toparlanma: ince ayardan önce ve sonra test doğruluğu (%), düz ve damıtmalı",
    },
    "pruned": {"en": "Right after pruning", "tr": "Budamadan hemen sonra"},
    "finetuned": {"en": "Fine-tuned", "tr": "İnce ayarlı"},
    "distilled": {"en": "Fine-tuned, distilled", "tr": "Damıtmalı ince ayarlı"},
    "distilled_gap": {"en": "Distilled − plain (points)", "tr": "Damıtmalı − düz (puan)"},
    "evidence": {"en": "Interval", "tr": "Aralık"},
    "over_seeds": {"en": "paired t, {n} seeds", "tr": "eşli t, {n} tohum"},
    "over_images": {"en": "bootstrap, {n} test images", "tr": "bootstrap, {n} test görüntüsü"},
    "recovery_legend": {
        "en": "brackets: 95% interval of the difference",
        "tr": "köşeli ayraç: farkın %95 aralığı",
    },
    "recovery_images": {
        "en": "An interval over test images leaves out the noise between seeds, of which one seed tells nothing.",
        "tr": "Test görüntüleri üzerinden çizilen aralık, tohumlar arası gürültüyü kapsamaz; tek tohum bunun hakkında "
        "bir şey söylemez.",
    },
    "recovery_note": {
        "en": "Distilled: the original model is the teacher ({setting}). The original's own accuracy: {accuracy}.",
        "tr": "Damıtmalı: öğretmen orijinal modeldir ({setting}). Orijinal modelin doğruluğu: {accuracy}.",
    },
    # Equal MACs and squeeze-excite
    "macs_title": {
        "en": "Criteria at equal MACs: {setting}, {scope}, after fine-tuning",
        "tr": "Eşit MAC ile ölçütler: {setting}, {scope}, ince ayardan sonra",
    },
    "macs_note": {
        "en": "MACs are counted for one image at {here}. At an equal share of channels the criteria leave networks of "
        "different cost; here each removes as many channels as that cost takes.",
        "tr": "MAC sayısı tek görüntü içindir, girdi {here}. Eşit kanal oranında ölçütler farklı maliyette ağlar "
        "bırakır; burada her ölçüt, aynı maliyete inmek için gereken kadar kanal çıkarır.",
    },
    "se_title": {
        "en": "Squeeze-excite bottlenecks left open or protected, {scope}, after fine-tuning",
        "tr": "Squeeze-excite darboğazları açık ya da korumalı, {scope}, ince ayardan sonra",
    },
    "bottlenecks": {"en": "Squeeze-excite", "tr": "Squeeze-excite"},
    "open": {"en": "open", "tr": "açık"},
    "protected": {"en": "protected", "tr": "korumalı"},
    "narrowest": {"en": "Fewest channels left", "tr": "En az kalan kanal"},
    "layer": {"en": "In layer", "tr": "Hangi katmanda"},
    "se_note": {
        "en": "Fewest channels left: in any one layer but the output, before → after, the fewest of all seeds; of "
        "several such layers the first.",
        "tr": "En az kalan kanal: çıkış dışında tek bir katmanda, önce → sonra, bütün tohumların en azı; böyle birkaç "
        "katman varsa ilki.",
    },
    # Latency
    "latency_title": {
        "en": "Measured latency of the networks, images of {here}",
        "tr": "Ağların ölçülen gecikmesi, görüntü boyutu {here}",
    },
    "latency_batch": {"en": "Batch of {n} (ms)", "tr": "Yığın boyutu {n} (ms)"},
    "latency_ratio": {"en": "Ratio to the original, batch of {n}", "tr": "Orijinal modele oranı, yığın boyutu {n}"},
    "odd": {"en": "Layers with an odd channel count", "tr": "Kanal sayısı tek olan katman"},
    "latency_legend": {
        "en": "Median [lower; upper quartile] for a batch",
        "tr": "Yığın başına medyan [alt; üst çeyreklik]",
    },
    "latency_note": {
        "en": "{repeats} timings of each network, a few in a row after {warm_up} untimed ones and the networks in "
        "turns, so that drift of the machine hits all alike; one seed's networks. On {device}: {hardware}.",
        "tr": "Her ağ için {repeats} ölçüm: ölçülmeyen {warm_up} koşudan sonra art arda birkaç tane; makinedeki kayma "
        "hepsini eşit etkilesin diye ağlar sırayla; tek bir tohumun ağları. Aygıt {device}: {hardware}.",
    },
    "hardware": {
        "en": "{processor}, cores: {cores}, threads: {threads}",
        "tr": "{processor}, çekirdek: {cores}, iş parçacığı: {threads}",
    },
    # Strategies
    "strategies_title": {
        "en": "Strategies and networks beside each other, after fine-tuning",
        "tr": "Stratejiler ve ağlar yan yana, ince ayardan sonra",
    },
    "not_run": {
        "en": "Not shown, for it has not been run in profile {profile}: study {study}. To run it: {command}",
        "tr": "{profile} profilinde henüz koşulmadığı için gösterilmeyen çalışma: {study}. Koşmak için: {command}",
    },
    "strategies_note": {
        "en": "Accuracy change is against each network's own original.",
        "tr": "Doğruluk değişimi, her ağın kendi orijinal modeline göredir.",
    },
    # Reference
    "reference_title": {
        "en": "What the architecture itself gives: {model}, {classes} classes, {size}",
        "tr": "Mimarinin kendisinden gelen sayılar: {model}, {classes} sınıf, {size}",
    },
    "structure": {"en": "Structure", "tr": "Yapı"},
    "unpruned": {"en": "unpruned", "tr": "budanmamış"},
    "reference_row": {"en": "{scope}, {ratio}{se}", "tr": "{scope}, {ratio}{se}"},
    "reference_note": {
        "en": "Counted, not trained: layer by layer the same share leaves every layer, whatever the weights, so these "
        "numbers hold for any training and can be checked against the report's.",
        "tr": "Eğitilmedi, sayıldı: katman bazlı budamada ağırlıklar ne olursa olsun her katmandan aynı pay çıkar; "
        "bu yüzden sayılar her eğitim için geçerlidir ve rapordakilerle karşılaştırılabilir.",
    },
    "counted_with": {"en": "Counted with {packages}.", "tr": "Sayımda kullanılan paketler: {packages}."},
    "reference_match": {
        "en": "One row comes to the report's change of size ({change}%): {row}.",
        "tr": "Raporun verdiği boyut değişimine (yüzde {change}) ulaşan tek satır: {row}.",
    },
}


def both(key: str, **values: Any) -> dict[str, str]:
    """A text of BOOK in both languages; a value that depends on the language is a function of it."""
    return {
        lang: pick(BOOK, key, lang, **{k: v(lang) if callable(v) else v for k, v in values.items()}) for lang in LANGS
    }
