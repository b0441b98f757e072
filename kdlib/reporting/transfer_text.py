"""What reporting writes about transfer learning, in English and Turkish.

As in `text`, no suffix follows a number or a name.
"""

from __future__ import annotations

import re

from kdlib.reporting.text import pick, text

BOOK: dict[str, dict[str, str]] = {
    # Which layers are open
    "head": {"en": "classifier only", "tr": "yalnızca sınıflandırıcı"},
    "all": {"en": "all layers", "tr": "bütün katmanlar"},
    "scratch": {"en": "from scratch", "tr": "sıfırdan"},
    "layer": {"en": "layer {layers}", "tr": "{layers}. katman"},
    "layers": {"en": "layers {layers}", "tr": "{layers}. katmanlar"},
    "open_layers": {"en": "Open layers", "tr": "Açık katmanlar"},
    # Roles
    "source": {"en": "source task", "tr": "kaynak görev"},
    "transfer": {"en": "transfer", "tr": "transfer"},
    "transfer_title": {"en": "Transfer: {model}", "tr": "Transfer: {model}"},
    "source_title": {"en": "Source task: {model}", "tr": "Kaynak görev: {model}"},
    "source_dataset": {
        "en": "source task: {name} ({train} training, {val} validation, {test} test images, {size})",
        "tr": "kaynak görev: {name} ({train} eğitim, {val} doğrulama, {test} test görüntüsü, {size})",
    },
    # Tables that show another study's runs
    "of_study": {"en": "Study {study}. {provenance}", "tr": "Çalışma {study}. {provenance}"},
    "not_run": {
        "en": "Rows of study {study} are empty: it has not been run in profile {profile}. To run it: {command}",
        "tr": "{study} çalışmasının satırları boş: {profile} profilinde henüz koşulmadı. Koşmak için: {command}",
    },
    # The figure
    "figure_title": {
        "en": "Test accuracy against trainable parameters",
        "tr": "Eğitilebilir parametrelere göre test doğruluğu",
    },
    "parameter_axis": {
        "en": "Trainable parameters (millions, log scale)",
        "tr": "Eğitilebilir parametreler (milyon, logaritmik ölçek)",
    },
    "point": {
        "en": "{trainable} trainable, {frozen} frozen",
        "tr": "{trainable} eğitilebilir, donmuş pay {frozen}",
    },
    "error_sd": {
        "en": "Error bar: ± standard deviation over seeds",
        "tr": "Hata çubuğu: tohumlar arası ± standart sapma",
    },
    "caption": {
        "en": "Test accuracy of the model that starts from source weights, against how many of its parameters were "
        "trained; each point names the layers that are open and the share of parameters that stays frozen. Cross and "
        "dashed line: the same network trained from scratch.",
        "tr": "Kaynak ağırlıklardan başlayan modelin, eğitilen parametre sayısına göre test doğruluğu; her noktada "
        "açık katmanlar ve donmuş kalan parametre payı yazılı. Çarpı ve kesikli çizgi: sıfırdan eğitilen aynı ağ.",
    },
    # Sentences
    "source_accuracy": {
        "en": "Source task ({data}), {model}: test accuracy {accuracy}.",
        "tr": "Kaynak görev ({data}), {model}: test doğruluğu {accuracy}.",
    },
    "weights": {
        "en": "Transfer starts from weights that were not trained here: {weights}.",
        "tr": "Transferin başlangıç ağırlıkları burada eğitilmedi: {weights}.",
    },
    "reached": {
        "en": "Transfer to {model}{recipe}, open: {variant}. Test accuracy {accuracy}{against}.",
        "tr": "Transfer, {model}{recipe}, açık: {variant}. Test doğruluğu {accuracy}{against}.",
    },
    "better": {
        "en": ", {points} percentage points above the same network trained from scratch ({scratch})",
        "tr": "; sıfırdan eğitilen aynı ağdan ({scratch}) {points} yüzde puanı daha yüksek",
    },
    "worse": {
        "en": ", {points} percentage points below the same network trained from scratch ({scratch})",
        "tr": "; sıfırdan eğitilen aynı ağdan ({scratch}) {points} yüzde puanı daha düşük",
    },
    "tie": {
        "en": ", the same as the same network trained from scratch",
        "tr": "; sıfırdan eğitilen aynı ağ ile aynı",
    },
    "no_scratch": {
        "en": "; there is no run from scratch to compare with",
        "tr": "; karşılaştırmak için sıfırdan eğitilmiş bir koşu yok",
    },
    "spread": {
        "en": "Over {n} seeds the difference is {difference} points with a 95% t-interval of {interval}. {verdict}",
        "tr": "{n} tohum üzerinden fark {difference} puan, %95 t aralığı {interval}. {verdict}",
    },
    "up": {
        "en": "The interval lies above zero: beyond the noise between seeds, {first} is ahead here.",
        "tr": "Aralık sıfırın üzerinde: {first} burada tohumlar arası gürültünün ötesinde önde.",
    },
    "down": {
        "en": "The interval lies below zero: beyond the noise between seeds, {second} is ahead here.",
        "tr": "Aralık sıfırın altında: {second} burada tohumlar arası gürültünün ötesinde önde.",
    },
    "open": {
        "en": "The interval holds zero: these seeds do not tell an effect from noise.",
        "tr": "Aralık sıfırı içeriyor: bu tohumlar bir etkiyi gürültüden ayırmaya yetmiyor.",
    },
    "with_transfer": {"en": "transfer", "tr": "transfer"},
    "with_scratch": {"en": "training from scratch", "tr": "sıfırdan eğitim"},
    "with_distillation": {"en": "distillation", "tr": "damıtma"},
    "with_most": {
        "en": "the choice that trains most parameters",
        "tr": "en çok parametreyi eğiten seçenek",
    },
    "with_fewest": {
        "en": "the choice that trains fewest",
        "tr": "en az parametreyi eğiten seçenek",
    },
    "one_sided": {
        "en": "One side has a single seed: whether this is more than the noise between seeds is not known.",
        "tr": "Bir tarafta tek tohum var: bunun tohumlar arası gürültüden fazlası olup olmadığı bilinmiyor.",
    },
    "one_source": {
        "en": "All seeds start from one source model, whose own spread is not in this.",
        "tr": "Bütün tohumlar aynı kaynak modelden başlıyor; onun kendi yayılımı buna dahil değil.",
    },
    "choice": {
        "en": "Of {count} choices of open layers{recipe}, validation takes: {variant} (validation {validation}); its "
        "test accuracy is {accuracy}.",
        "tr": "Açık katmanlar için {count} seçenek içinde{recipe} doğrulamanın seçtiği: {variant} (doğrulama "
        "{validation}); test doğruluğu {accuracy}.",
    },
    "choice_scratch": {
        "en": "From scratch, validation is higher still: {validation}.",
        "tr": "Sıfırdan eğitimin doğrulaması daha da yüksek: {validation}.",
    },
    "steps": {
        "en": "Test accuracy as more parameters are trained{recipe}: {steps}. It rises at {up} of {count} steps; from "
        "the first to the last it changes by {difference} points.",
        "tr": "Eğitilen parametre sayısı arttıkça test doğruluğu{recipe}: {steps}. {count} adımın {up} tanesinde "
        "yükseliyor; ilkinden sonuncusuna değişim {difference} puan.",
    },
    "step": {
        "en": "{variant} {accuracy} ({trainable} trainable)",
        "tr": "{variant} {accuracy} ({trainable} eğitilebilir)",
    },
    "beside": {
        "en": "Beside distillation in study {study}{recipe}: transfer, open: {variant}, {transfer}; {student} "
        "distilled from {teacher} with {setting}, chosen by validation, {distilled}; transfer minus distillation "
        "{difference} points.",
        "tr": "Damıtma ile yan yana, çalışma {study}{recipe}: transfer, açık: {variant}, {transfer}; {teacher} "
        "öğretmeninden damıtılan {student}, doğrulamanın seçtiği {setting}, {distilled}; transfer eksi damıtma "
        "{difference} puan.",
    },
    "other_images": {
        "en": "Transfer stands beside study {study}{recipe} without a difference: the two were not tested on the same "
        "images.",
        "tr": "Transfer ve {study} çalışması{recipe} yan yana duruyor, ama fark verilmiyor: ikisi aynı görüntülerde "
        "sınanmadı.",
    },
    "caveat": {
        "en": "The two are not equal in cost: the transfer model's own training took {ratio} times the arithmetic of "
        "the student's ({transfer_epochs} against {student_epochs} epochs){whole}.",
        "tr": "İkisinin maliyeti eşit değil: transfer modelinin kendi eğitimindeki işlem sayısının öğrencininkine "
        "oranı {ratio} (epok: {transfer_epochs} ve {student_epochs}){whole}.",
    },
    "whole": {
        "en": "; with the training of the source task and of the teacher counted, {ratio} times",
        "tr": "; kaynak görevin ve öğretmenin eğitimi de sayılınca oran {ratio}",
    },
}

REPORTED = "2-3-4"  # the layers that the Turkish report leaves open in its transfer row
SCRATCH = "scratch"


def layers(variant: str | None, lang: str, study=None) -> str:
    """Which layers a variant leaves open, in words: the study's own where it has some; an unknown one as it is."""
    named = getattr(getattr(study, "transfer", None), "variants", None) or {}
    if variant in named:
        return text(named[variant].label, lang)
    if variant in ("head", "all", "scratch"):
        return pick(BOOK, variant, lang)
    if variant and re.fullmatch(r"\d+(-\d+)*", variant):
        numbers = variant.split("-")
        return pick(BOOK, "layers" if len(numbers) > 1 else "layer", lang, layers=", ".join(numbers))
    return variant or ""
