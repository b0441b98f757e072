"""What reporting writes about ways of distilling, in English and Turkish.

As in `text`, no suffix follows a number or a name.
"""

from __future__ import annotations

from kdlib.reporting.text import text

PLAIN = "kd"  # how a study's labels name plain distillation, which has no name in the records

LABELS: dict[str, str | dict[str, str]] = {
    PLAIN: "KD (Hinton)",
    "kd_std": {"en": "KD + z-score", "tr": "KD + z puanı"},
    "dkd": "DKD",
    "dist": "DIST",
    "fitnets": "FitNets",
    "at": {"en": "AT (attention transfer)", "tr": "AT (dikkat aktarımı)"},
    "sp": {"en": "SP (similarities)", "tr": "SP (benzerlikler)"},
    "rkd": {"en": "RKD (relations)", "tr": "RKD (ilişkiler)"},
}

BOOK: dict[str, dict[str, str]] = {
    # The table
    "title": {
        "en": "Methods side by side: {model}{recipe}",
        "tr": "Yöntemler yan yana: {model}{recipe}",
    },
    "method": {"en": "Method", "tr": "Yöntem"},
    "setting": {"en": "Setting", "tr": "Ayar"},
    "accuracy": {"en": "Test accuracy (%)", "tr": "Test doğruluğu (%)"},
    "n": {"en": "Seeds", "tr": "Tohum"},
    "difference": {"en": "Against alone (points)", "tr": "Tek başına göre (puan)"},
    "ratio": {"en": "Time, alone = 1", "tr": "Süre, tek başına = 1"},
    "step": {"en": "Time a step (ms)", "tr": "Adım süresi (ms)"},
    "looks": {"en": "Looks at", "tr": "Baktığı yer"},
    "alone": {"en": "Student alone", "tr": "Tek başına öğrenci"},
    "logits": {"en": "logits", "tr": "logitler"},
    "features": {"en": "features", "tr": "öznitelikler"},
    "at_layers": {"en": "features: {layers}", "tr": "öznitelikler: {layers}"},
    "legend": {
        "en": "Accuracy: mean ± standard deviation over seeds; against alone: difference paired by seed, with its 95% "
        "t-interval",
        "tr": "Doğruluk: tohumlar üzerinden ortalama ± standart sapma; tek başına göre: tohum tohum eşlenmiş fark ve "
        "%95 t aralığı",
    },
    "legend_one": {
        "en": "Accuracy of one seed; against alone: the difference of that seed, which has no interval",
        "tr": "Tek tohumun doğruluğu; tek başına göre: o tohumun farkı, aralığı yok",
    },
    "time_note": {
        "en": "Time: what a run took over its epochs, with its validation and its share of what the runs of its group "
        "have in common (images, the teacher's pass), divided by its training steps. Students that learn beside one "
        "another share the teacher's pass; one that learns by itself pays for all of it.",
        "tr": "Süre: bir koşunun, doğrulama ve grubundaki koşularla ortak olanlardan (görüntüler, öğretmenin geçişi) "
        "payına düşen dahil, epoklar boyunca tuttuğu zamanın eğitim adımı sayısına bölümü. Yan yana öğrenen öğrenciler "
        "öğretmenin geçişini paylaşır; tek başına öğrenen bir öğrenci bunun tamamını öder.",
    },
    "other_group": {
        "en": "‡ Not timed beside the student alone: it was trained in another group of runs.",
        "tr": "‡ Süresi tek başına öğrencinin yanında ölçülmedi: başka bir koşu grubunda eğitildi.",
    },
    "diverged": {
        "en": "† so many runs diverged; they enter no mean.",
        "tr": "† bu kadar koşu ıraksadı; ortalamalara katılmazlar.",
    },
    # The figure
    "figure_title": {
        "en": "{model}: what each method adds to the student alone",
        "tr": "{model}: her yöntemin tek başına öğrenciye kattığı",
    },
    "axis": {
        "en": "Difference in test accuracy to the student alone, {accuracy} (percentage points)",
        "tr": "Tek başına öğrenciden test doğruluğu farkı, {accuracy} (yüzde puanı)",
    },
    "interval": {"en": "95% t-interval over seeds", "tr": "tohumlar üzerinden %95 t aralığı"},
    "mean": {"en": "mean", "tr": "ortalama"},
    "seed": {"en": "one seed", "tr": "tek tohum"},
    "alone_line": {"en": "student alone", "tr": "tek başına öğrenci"},
    "caption": {
        "en": "Test accuracy of the distilled {model} minus that of the same network trained alone, paired by seed; "
        "large dots: means, lines: 95% t-intervals (an arrow where one runs on), small dots: seeds.",
        "tr": "Damıtılmış {model} ile tek başına eğitilen aynı ağın test doğruluğu farkı, tohum tohum eşlenmiş; büyük "
        "noktalar: ortalamalar, çizgiler: %95 t aralıkları (sürdükleri yerde ok), küçük noktalar: tohumlar.",
    },
    "caption_one": {
        "en": "Test accuracy of the distilled {model} minus that of the same network trained alone, for one seed: "
        "without an interval no order of the methods is to be read from it.",
        "tr": "Damıtılmış {model} ile tek başına eğitilen aynı ağın test doğruluğu farkı, tek tohum için: aralık "
        "olmadığından yöntemler arasında bir sıra okunmamalıdır.",
    },
    # Sentences
    "against_plain": {
        "en": "Methods, {model}{recipe}: validation takes {best}. Against {plain} the difference in test accuracy is "
        "{difference} points over {n} seeds, 95% t-interval {interval}. {verdict}",
        "tr": "Yöntemler, {model}{recipe}: doğrulamanın seçtiği {best}. Kıyas: {plain}; test doğruluğu farkı {n} tohum "
        "üzerinden {difference} puan, %95 t aralığı {interval}. {verdict}",
    },
    "is_plain": {
        "en": "Methods, {model}{recipe}: validation takes plain distillation, {best}.",
        "tr": "Yöntemler, {model}{recipe}: doğrulamanın seçtiği sade damıtma, {best}.",
    },
    "up": {
        "en": "The interval lies above zero: beyond the noise between seeds it is ahead here.",
        "tr": "Aralık sıfırın üzerinde: burada tohumlar arası gürültünün ötesinde önde.",
    },
    "down": {
        "en": "The interval lies below zero: on test it is behind here, beyond the noise between seeds.",
        "tr": "Aralık sıfırın altında: testte tohumlar arası gürültünün ötesinde geride.",
    },
    "open": {
        "en": "The interval holds zero: these seeds do not tell the two apart.",
        "tr": "Aralık sıfırı içeriyor: bu tohumlar ikisini ayırt etmeye yetmiyor.",
    },
    "above": {
        "en": "Above the student alone beyond the noise between seeds: {methods}.",
        "tr": "Tohumlar arası gürültünün ötesinde, tek başına öğrenciden daha iyi: {methods}.",
    },
    "below": {
        "en": "Below the student alone beyond the noise between seeds: {methods}.",
        "tr": "Tohumlar arası gürültünün ötesinde, tek başına öğrenciden daha kötü: {methods}.",
    },
    "beside": {
        "en": "Not to be told apart from the student alone by these seeds: {methods}.",
        "tr": "Bu tohumlarla tek başına öğrenciden ayırt edilemeyen: {methods}.",
    },
    "alike": {
        "en": "Not to be told apart from {best}: {methods}.",
        "tr": "Kıyas: {best}. Bundan ayırt edilemeyenler: {methods}.",
    },
    "each_alone": {
        "en": "Each interval stands by itself: of {count} such intervals {expected} are expected to leave zero out by "
        "chance, even where no method does anything; and the best was chosen over the very seeds it is judged by.",
        "tr": "Her aralık yalnız kendisi içindir: hiçbir yöntem bir şey katmasa bile, {count} aralık içinde "
        "rastlantıyla sıfırı dışarıda bırakanların beklenen sayısı {expected}; ayrıca en iyisi, değerlendirildiği "
        "tohumlar üzerinden seçildi.",
    },
    "one_seed": {
        "en": "Methods, {model}{recipe}: with fewer than three seeds the methods are not put in order, and none is "
        "said to help.",
        "tr": "Yöntemler, {model}{recipe}: üçten az tohumla yöntemler sıraya konmaz ve hiçbirine yararlı denmez.",
    },
    "cost": {
        "en": "Time a step against the student alone, in the same group of runs: from {low} times ({cheap}) to {high} "
        "times ({dear}).",
        "tr": "Aynı koşu grubunda bir adımın süresi, tek başına öğrenci 1 alınırsa: en kısa {low} ({cheap}), en uzun "
        "{high} ({dear}).",
    },
}


def label(study, key: str, lang: str) -> str:
    """How a method is called: the study's own name for it, else the usual one; an unknown one as it is."""
    labels = getattr(study, "labels", None) or {}
    return text(labels.get(key) or LABELS.get(key) or key, lang)
