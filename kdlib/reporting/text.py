"""Every word that reporting writes, in English and Turkish, in one place.

Turkish sentences are built so that no suffix follows a number or a name: vowel harmony would depend on how each is
read aloud.
"""

from __future__ import annotations

from typing import Any

LANGS = ("en", "tr")

WORDS: dict[str, dict[str, str]] = {
    # Where the numbers come from
    "profile_paper": {
        "en": "Profile: paper (the report's own settings)",
        "tr": "Profil: paper (raporun kendi ayarları)",
    },
    "profile_other": {
        "en": "Profile: {profile} (not the report's own settings)",
        "tr": "Profil: {profile} (raporun kendi ayarları değil)",
    },
    "profile_changed": {
        "en": "Profile: paper (not the report's own settings; changed: {keys})",
        "tr": "Profil: paper (raporun kendi ayarları değil; değişen: {keys})",
    },
    "profile_plain": {"en": "Profile: {profile}", "tr": "Profil: {profile}"},
    "dataset": {
        "en": "data: {name} ({train} training, {val} validation, {test} test images, {size})",
        "tr": "veri: {name} ({train} eğitim, {val} doğrulama, {test} test görüntüsü, {size})",
    },
    "epochs": {"en": "epochs: {epochs}", "tr": "epok: {epochs}"},
    "seeds": {"en": "seeds: {seeds}", "tr": "tohumlar: {seeds}"},
    "seed": {"en": "seed: {seeds}", "tr": "tohum: {seeds}"},
    "mean_of_seeds": {
        "en": "mean ± standard deviation over seeds",
        "tr": "tohumlar üzerinden ortalama ± standart sapma",
    },
    "missing_runs": {
        "en": "{missing} of {all} runs have not been made yet",
        "tr": "{all} koşunun {missing} tanesi henüz yapılmadı",
    },
    # Tables
    "ours": {"en": "ours", "tr": "bizim"},
    "reported": {"en": "reported", "tr": "rapor"},
    "ours_top": {"en": "Top: ours", "tr": "Üstte: bizim sonucumuz"},
    "reported_below": {"en": "below, grey: the report's", "tr": "altta, gri: rapordaki"},
    "reported_below_small": {"en": "below, small: the report's", "tr": "altta, küçük: rapordaki"},
    "ours_only": {"en": "ours", "tr": "bizim sonucumuz"},
    "best_bold": {"en": "bold: best", "tr": "kalın: en iyi"},
    "unit_percent": {"en": "Accuracy in %", "tr": "Doğruluk, %"},
    "unit_fraction": {"en": "Accuracy as a fraction", "tr": "Doğruluk, 0–1 arası"},
    "difference": {
        "en": "in brackets: change against “{column}”, in percentage points",
        "tr": "ayraç içinde: “{column}” sütununa göre değişim, yüzde puanı",
    },
    "dagger": {
        "en": "† k/n: k of n runs diverged; they enter no mean, and the cell does not compete for bold.",
        "tr": "† k/n: n koşudan k tanesi ıraksadı; ortalamalara katılmazlar, hücre kalın yarışına girmez.",
    },
    "dagger_run": {
        "en": "{where}: seed {seed}, epoch {epoch} ({reason})",
        "tr": "{where}: tohum {seed}, epok {epoch} ({reason})",
    },
    "other_methods": {
        "en": "Students distilled by another method than the report's are not in this table, but in that of methods.",
        "tr": "Rapordakinden başka bir yöntemle damıtılan öğrenciler bu tabloda değil, yöntemler tablosunda.",
    },
    "csv_column": {"en": "column", "tr": "sütun"},
    "csv_mean": {"en": "ours_mean", "tr": "bizim_ortalama"},
    "csv_sd": {"en": "ours_sd", "tr": "bizim_standart_sapma"},
    "csv_n": {"en": "n", "tr": "n"},
    "csv_diverged": {"en": "diverged", "tr": "ıraksayan"},
    "csv_reported": {"en": "reported", "tr": "rapor"},
    "csv_unit": {"en": "unit", "tr": "birim"},
    "csv_row": {"en": "row", "tr": "satır"},
    "percent": {"en": "percent", "tr": "yüzde"},
    "fraction": {"en": "fraction", "tr": "oran"},
    # Names of things
    "teacher": {"en": "Teacher", "tr": "Öğretmen"},
    "student": {"en": "Student", "tr": "Öğrenci"},
    "alone": {"en": "alone", "tr": "tek başına"},
    "student_alone": {"en": "{model} alone", "tr": "{model}, tek başına"},
    "distilled": {"en": "distilled", "tr": "damıtılmış"},
    "training": {"en": "training", "tr": "eğitim"},
    "validation": {"en": "validation", "tr": "doğrulama"},
    "diverged_line": {"en": "diverged", "tr": "ıraksadı"},
    "reason_nan": {"en": "the loss became NaN or infinite", "tr": "kayıp NaN ya da sonsuz oldu"},
    "reason_chance": {"en": "accuracy fell back to chance", "tr": "doğruluk şans düzeyine geri düştü"},
    "reason_finite": {
        "en": "the loss or the logits became NaN or infinite",
        "tr": "kayıp ya da logitler NaN ya da sonsuz oldu",
    },
    "reason_far": {
        "en": "validation cross-entropy ended far above guessing",
        "tr": "doğrulama çapraz entropisi tahmin yürütmenin çok üzerinde bitti",
    },
    "reason_guessing": {
        "en": "accuracy fell back to guessing",
        "tr": "doğruluk rastgele tahmin düzeyine geri düştü",
    },
    # Axes and legends
    "epoch_axis": {"en": "Epoch", "tr": "Epok"},
    "loss_axis": {"en": "Cross-entropy (nats)", "tr": "Çapraz entropi (nat)"},
    "accuracy_axis": {"en": "Accuracy (%)", "tr": "Doğruluk (%)"},
    "test_axis": {"en": "Test accuracy (%)", "tr": "Test doğruluğu (%)"},
    "alpha_axis": {"en": "α (weight of the soft term)", "tr": "α (yumuşak terimin ağırlığı)"},
    "temperature_axis": {"en": "Temperature T", "tr": "Sıcaklık T"},
    "temperature_log_axis": {"en": "Temperature T (log scale)", "tr": "Sıcaklık T (logaritmik ölçek)"},
    "difference_axis": {
        "en": "Difference to the student alone, {accuracy}\n(percentage points)",
        "tr": "Tek başına öğrenciden fark, {accuracy}\n(yüzde puanı)",
    },
    "best_validation": {"en": "best by validation", "tr": "doğrulamada en iyi"},
    "best_test": {"en": "highest on test", "tr": "testte en yüksek"},
    "band_t": {"en": "Band: 95% t-interval over seeds", "tr": "Bant: tohumlar üzerinden %95 t aralığı"},
    "band_range": {
        "en": "Band: range of the seeds (two seeds)",
        "tr": "Bant: tohumların aralığı (iki tohum)",
    },
    "band_sd": {"en": "Band: ± standard deviation over seeds", "tr": "Bant: tohumlar arası ± standart sapma"},
    "error_sd": {
        "en": "Error bar: ± standard deviation; dots: seeds",
        "tr": "Hata çubuğu: ± standart sapma; noktalar: tohumlar",
    },
    "mean_all": {"en": "mean of {n} settings", "tr": "{n} ayarın ortalaması"},
}

FIGURES: dict[str, dict[str, str]] = {
    "figure_alt": {
        "en": "{title}; its numbers stand in the tables of the study.",
        "tr": "{title}; sayıları çalışmanın tablolarındadır.",
    },
    "curves_title": {"en": "Loss and accuracy over the epochs", "tr": "Epoklar boyunca kayıp ve doğruluk"},
    "curves_caption": {
        "en": "Cross-entropy with the labels and accuracy per epoch; training dashed, validation solid.",
        "tr": "Epok başına etiketlerle çapraz entropi ve doğruluk; eğitim kesikli, doğrulama düz çizgi.",
    },
    "heatmap_title": {"en": "{model}: test accuracy (%)", "tr": "{model}: test doğruluğu (%)"},
    "heatmap_caption": {
        "en": "Test accuracy (%) of the distilled {model}; the colour is the difference to the same "
        "network trained alone ({baseline}). Solid frame: best by validation accuracy; dashed frame: "
        "highest on test.",
        "tr": "Damıtılmış {model} için test doğruluğu (%); renk, tek başına eğitilen aynı ağdan farktır "
        "({baseline}). Düz çerçeve: doğrulamada en iyi; kesikli çerçeve: testte en yüksek.",
    },
    "temperature_title": {"en": "Test accuracy against temperature", "tr": "Sıcaklığa göre test doğruluğu"},
    "temperature_caption": {
        "en": "Test accuracy of distilled students against the temperature T; black: the same network trained alone.",
        "tr": "Damıtılmış öğrencilerin T sıcaklığına göre test doğruluğu; siyah: tek başına eğitilen aynı ağ.",
    },
    "bars_title": {"en": "Students alone and distilled", "tr": "Tek başına ve damıtılmış öğrenciler"},
    "bars_caption": {
        "en": "Test accuracy of each student trained alone and distilled; the numbers give accuracy, ± standard "
        "deviation, in brackets the difference to alone (percentage points). Line: the teacher.",
        "tr": "Her öğrencinin tek başına ve damıtılmış test doğruluğu; sayılar doğruluğu, ± standart sapmayı, ayraç "
        "içindekiler tek başına eğitime göre farkı verir (yüzde puanı). Çizgi: öğretmen.",
    },
}

FINDINGS: dict[str, dict[str, str]] = {
    "title": {"en": "Findings: {study}", "tr": "Bulgular: {study}"},
    "source": {"en": "Source: {source}", "tr": "Kaynak: {source}"},
    "for_recipe": {"en": " ({recipe})", "tr": " ({recipe})"},
    "teacher": {
        "en": "Teacher {model}{recipe}: test accuracy {accuracy}.",
        "tr": "Öğretmen {model}{recipe}: test doğruluğu {accuracy}.",
    },
    "baseline": {
        "en": "{model} trained alone{recipe}: test accuracy {accuracy}.",
        "tr": "Tek başına eğitilen {model}{recipe}: test doğruluğu {accuracy}.",
    },
    "accuracy_seeds": {
        "en": "{mean} (standard deviation {sd} points, {n} seeds)",
        "tr": "{mean} (standart sapma {sd} puan, {n} tohum)",
    },
    "best_of": {
        "en": "Best distilled {model}{recipe} by validation accuracy, of {count} settings: {setting} "
        "(validation {validation}). Its test accuracy is {accuracy}{against}.",
        "tr": "Doğrulama doğruluğuna göre en iyi damıtılmış {model}{recipe}, {count} ayar içinde: "
        "{setting} (doğrulama {validation}). Test doğruluğu {accuracy}{against}.",
    },
    "best_one": {
        "en": "Distilled {model}{recipe}, {setting}: test accuracy {accuracy}{against}.",
        "tr": "Damıtılmış {model}{recipe}, {setting}: test doğruluğu {accuracy}{against}.",
    },
    "better": {
        "en": ", {points} percentage points above the same network trained alone",
        "tr": "; tek başına eğitilen aynı ağdan {points} yüzde puanı daha yüksek",
    },
    "worse": {
        "en": ", {points} percentage points below the same network trained alone",
        "tr": "; tek başına eğitilen aynı ağdan {points} yüzde puanı daha düşük",
    },
    "tie": {
        "en": ", the same as that of the same network trained alone",
        "tr": "; tek başına eğitilen aynı ağ ile aynı",
    },
    "no_baseline": {
        "en": "; there is no run of the same network alone to compare with",
        "tr": "; karşılaştırmak için aynı ağın tek başına koşusu yok",
    },
    "spread": {
        "en": "Over {n} seeds the difference is {difference} points with a 95% t-interval of {interval}; "
        "the standard deviation between seeds is {sd_alone} alone and {sd_distilled} distilled. "
        "{verdict}",
        "tr": "{n} tohum üzerinden fark {difference} puan, %95 t aralığı {interval}; tohumlar arası "
        "standart sapma tek başına {sd_alone}, damıtılmış {sd_distilled}. {verdict}",
    },
    "verdict_up": {
        "en": "The interval lies above zero: distillation helped here beyond the noise between seeds.",
        "tr": "Aralık sıfırın üzerinde: damıtma burada tohumlar arası gürültünün ötesinde yarar sağladı.",
    },
    "verdict_down": {
        "en": "The interval lies below zero: distillation hurt here beyond the noise between seeds.",
        "tr": "Aralık sıfırın altında: damıtma burada tohumlar arası gürültünün ötesinde zarar verdi.",
    },
    "verdict_open": {
        "en": "The interval holds zero: these seeds do not tell an effect from noise.",
        "tr": "Aralık sıfırı içeriyor: bu tohumlar bir etkiyi gürültüden ayırmaya yetmiyor.",
    },
    "one_teacher": {
        "en": "All seeds share one teacher, whose own spread is not in this.",
        "tr": "Bütün tohumlar aynı öğretmeni kullanıyor; onun kendi yayılımı buna dahil değil.",
    },
    "one_seed": {
        "en": "Fewer than three seeds cannot tell an effect from the noise between seeds.",
        "tr": "Üçten az tohumla bir etki, tohumlar arası gürültüden ayırt edilemez.",
    },
    "bootstrap": {
        "en": "The test images alone ({images} of them) leave a 95% bootstrap interval of {interval} "
        "points for this difference.",
        "tr": "Yalnızca test görüntülerinin örneklenmesi ({images} görüntü) bu fark için {interval} "
        "puanlık bir %95 bootstrap aralığı bırakıyor.",
    },
    "overall": {
        "en": "All {count} distilled settings of {model}{recipe}: mean test accuracy {mean}, {difference} "
        "points against alone; {above} of {count} lie above it.",
        "tr": "{model}{recipe} için damıtılmış {count} ayarın tümü: ortalama test doğruluğu {mean}, tek "
        "başına eğitime göre {difference} puan; {count} ayarın {above} tanesi bunun üzerinde.",
    },
    "diverged": {
        "en": "Diverged and left out of every mean: {runs}.",
        "tr": "Iraksadığı için hiçbir ortalamaya katılmayan: {runs}.",
    },
    "diverged_run": {
        "en": "{what}, seed {seed}, epoch {epoch} ({reason})",
        "tr": "{what}, tohum {seed}, epok {epoch} ({reason})",
    },
    "guessing": {
        "en": "Nothing is compared: what the others would be measured against gives {accuracy} on {images} test "
        "images, which is not clearly above the {chance} of always naming the commonest class. More epochs or more "
        "images are needed first.",
        "tr": "Hiçbir karşılaştırma yapılmadı: ölçüt olacak model {images} test görüntüsünde {accuracy} veriyor; bu, "
        "hep en sık sınıfı söylemenin verdiği {chance} değerinin belirgin biçimde üzerinde değil. Önce daha çok epok "
        "ya da daha çok görüntü gerekiyor.",
    },
    "nothing": {"en": "There are no runs to report yet.", "tr": "Henüz raporlanacak koşu yok."},
}

# By what the records say; the first two are those of protocol 1.
_REASONS = {
    WORDS[key]["en"]: key for key in ("reason_nan", "reason_chance", "reason_finite", "reason_far", "reason_guessing")
}


def word(key: str, lang: str, **values: Any) -> str:
    """The text `key` in `lang`, its {fields} filled with `values`; KeyError for an unknown key or language."""
    book = WORDS if key in WORDS else FIGURES
    return book[key][lang].format(**values)


def finding(key: str, lang: str, **values: Any) -> str:
    """A sentence of the findings; their keys are a namespace of their own."""
    return FINDINGS[key][lang].format(**values)


def pick(book: dict[str, dict[str, str]], key: str, lang: str, **values: Any) -> str:
    """The text `key` of a module's own `book`, its {fields} filled with `values`; KeyError for an unknown key."""
    return book[key][lang].format(**values)


def text(value: Any, lang: str) -> str:
    """What a study says in `lang`: a plain string or number is the same in both languages; else {en, tr}."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return str(value[lang])
    if hasattr(value, lang):
        return str(getattr(value, lang))
    return str(value)


def reason(raw: str, lang: str) -> str:
    """Why a run diverged; a reason that training gives and we have no translation for is passed on as it is."""
    return WORDS[_REASONS[raw]][lang] if raw in _REASONS else raw
