"""What reporting writes about two-class models of medical images, in English and Turkish.

As in `text`, no suffix follows a number or a name.
"""

from __future__ import annotations

from typing import Any

from kdlib.reporting.text import LANGS, pick

BOOK: dict[str, dict[str, str]] = {
    "teacher": {"en": "Teacher", "tr": "Öğretmen"},
    "baseline": {"en": "Student alone", "tr": "Tek başına öğrenci"},
    "student": {"en": "Student with teacher", "tr": "Öğretmenle öğrenci"},
    # Tables
    "test_title": {"en": "The three models on the test part", "tr": "Üç model test bölümünde"},
    "models": {"en": "Model", "tr": "Model"},
    "network": {"en": "Network", "tr": "Ağ"},
    "accuracy": {"en": "Accuracy (%)", "tr": "Doğruluk (%)"},
    "reported_accuracy": {"en": "Accuracy, reported (%)", "tr": "Doğruluk, rapor (%)"},
    "auroc": {"en": "AUROC", "tr": "AUROC"},
    "sensitivity": {"en": "Sensitivity (%)", "tr": "Duyarlılık (%)"},
    "specificity": {"en": "Specificity (%)", "tr": "Özgüllük (%)"},
    "f1": {"en": "F1", "tr": "F1"},
    "ece": {"en": "ECE", "tr": "ECE"},
    "test_legend": {
        "en": "Brackets: 95% bootstrap interval over {units}",
        "tr": "Köşeli ayraç: {units} üzerinden %95 bootstrap aralığı",
    },
    "test_legend_seeds": {
        "en": "Mean ± standard deviation over seeds; brackets: 95% bootstrap interval of that mean over {units}, "
        "which does not hold the spread between seeds",
        "tr": "Tohumlar üzerinden ortalama ± standart sapma; köşeli ayraç: bu ortalamanın {units} üzerinden %95 "
        "bootstrap aralığı; tohumlar arası yayılım buna dahil değil",
    },
    "patients": {"en": "the {patients} test patients", "tr": "test bölümündeki {patients} hasta"},
    "images": {"en": "the {images} test images", "tr": "{images} test görüntüsü"},
    "definitions": {
        "en": "Positive class: {positive}; threshold 0.5. Sensitivity: share of the images of {positive} that are "
        "found; specificity: share of the images of {negative} that are called so. AUROC: over all thresholds. "
        "ECE: expected calibration error, 15 equal bins (Guo et al. 2017); its interval leans upward, for drawing "
        "anew adds chance gaps.",
        "tr": "Pozitif sınıf: {positive}; eşik 0,5. Duyarlılık: “{positive}” görüntülerinden bulunanların payı; "
        "özgüllük: “{negative}” görüntülerinden doğru tanınanların payı. AUROC: bütün eşikler üzerinden. ECE: "
        "beklenen kalibrasyon hatası, 15 eşit aralık (Guo vd. 2017); yeniden çekmek rastlantısal farklar eklediği için "
        "aralığı yukarı kayar.",
    },
    "by_patient": {
        "en": "Bootstrap: {draws} draws of whole patients, for images of one patient resemble each other.",
        "tr": "Bootstrap: hastaların bütünü çekilir ({draws} çekim), çünkü bir hastanın görüntüleri birbirine benzer.",
    },
    "by_image": {
        "en": "Bootstrap: {draws} draws of single images, for the data name no patients; where a patient has several "
        "images the intervals are too narrow.",
        "tr": "Bootstrap: tek tek görüntüler çekilir ({draws} çekim), çünkü veride hasta bilgisi yok; bir hastanın "
        "birden çok görüntüsü varsa aralıklar gereğinden dardır.",
    },
    "assumed": {
        "en": "The data have no class “{asked}”, which the study names; {positive} is taken for the positive class.",
        "tr": "Çalışmanın andığı “{asked}” sınıfı veride yok; pozitif sınıf olarak alınan: {positive}.",
    },
    "diverged": {
        "en": "† n: so many runs diverged; they enter no number.",
        "tr": "† n: bu kadar koşu ıraksadı; hiçbir sayıya katılmazlar.",
    },
    "unread": {
        "en": "Runs published without their test logits: {n}; they cannot be measured here.",
        "tr": "Test logitleri olmadan yayımlanan koşu sayısı: {n}; bunlar burada ölçülemiyor.",
    },
    "confusion_title": {"en": "Confusion matrices, test part", "tr": "Karışıklık matrisleri, test bölümü"},
    "true_class": {"en": "True class", "tr": "Gerçek sınıf"},
    "called": {"en": "Called {name}", "tr": "Tahmin: {name}"},
    "confusion_legend": {
        "en": "Images and, in parentheses, their share of the row; threshold 0.5",
        "tr": "Görüntü sayısı ve ayraç içinde satırdaki payı; eşik 0,5",
    },
    "confusion_legend_seeds": {
        "en": "Images and, in parentheses, their share of the row; threshold 0.5; summed over {n} seeds",
        "tr": "Görüntü sayısı ve ayraç içinde satırdaki payı; eşik 0,5; {n} tohumun toplamı",
    },
    "split_title": {"en": "Images, classes and patients of each part", "tr": "Her bölümün görüntü, sınıf ve hastaları"},
    "part": {"en": "Part", "tr": "Bölüm"},
    "train": {"en": "Training", "tr": "Eğitim"},
    "val": {"en": "Validation", "tr": "Doğrulama"},
    "test": {"en": "Test", "tr": "Test"},
    "column_images": {"en": "Images", "tr": "Görüntü"},
    "column_share": {"en": "Share of {name}", "tr": "Pay: {name}"},
    "column_patients": {"en": "Patients", "tr": "Hasta"},
    "split_legend": {"en": "Numbers of images and of patients", "tr": "Görüntü ve hasta sayıları"},
    "held_out": {
        "en": "Validation is held out by patient: no patient is both in training and in validation.",
        "tr": "Doğrulama bölümü hastaya göre ayrılır: hem eğitimde hem doğrulamada bulunan hasta yoktur.",
    },
    "no_patients": {
        "en": "The data name no patients: images of one patient may lie in several parts.",
        "tr": "Veride hasta bilgisi yok: bir hastanın görüntüleri birden çok bölümde bulunabilir.",
    },
    "weights_none": {
        "en": "Imbalance: not corrected; the loss weighs every image alike.",
        "tr": "Dengesizlik: giderilmedi; kayıpta her görüntünün ağırlığı aynı.",
    },
    "weights_balanced": {
        "en": "Imbalance: the cross-entropy weighs each class by the inverse of its share of the training part.",
        "tr": "Dengesizlik: çapraz entropide her sınıfın ağırlığı, eğitim bölümündeki payıyla ters orantılı.",
    },
    "weights_mixed": {
        "en": "Imbalance: class weights in the cross-entropy for {balanced}; none for {none}.",
        "tr": "Dengesizlik: çapraz entropide sınıf ağırlığı olanlar: {balanced}; olmayanlar: {none}.",
    },
    # Figures
    "roc_title": {"en": "ROC curves on the test part{about}", "tr": "Test bölümünde ROC eğrileri{about}"},
    "false_axis": {
        "en": "1 − specificity: {negative} called {positive} (%)",
        "tr": "1 − özgüllük: {positive} denen {negative} (%)",
    },
    "true_axis": {
        "en": "Sensitivity: {positive} found (%)",
        "tr": "Duyarlılık: bulunan {positive} (%)",
    },
    "roc_caption": {
        "en": "Sensitivity against 1 − specificity over all thresholds; the marker is the threshold 0.5, the dotted "
        "diagonal chance. In the legend AUROC with its 95% bootstrap interval over {units}.",
        "tr": "Bütün eşikler üzerinden 1 − özgüllüğe göre duyarlılık; işaret 0,5 eşiği, noktalı köşegen şans düzeyi. "
        "Göstergede AUROC ve {units} üzerinden %95 bootstrap aralığı.",
    },
    "roc_seeds": {
        "en": "Thin: each seed; thick: mean sensitivity over the seeds; AUROC: mean over the seeds.",
        "tr": "İnce: tek tek tohumlar; kalın: tohumlar üzerinden ortalama duyarlılık; AUROC: tohumların ortalaması.",
    },
    "chance": {"en": "chance", "tr": "şans"},
    "reliability_title": {
        "en": "Reliability on the test part{about}",
        "tr": "Test bölümünde güvenilirlik{about}",
    },
    "confidence_axis": {"en": "Confidence of the called class", "tr": "Tahmin edilen sınıfa güven"},
    "hit_axis": {"en": "Accuracy in the bin", "tr": "Aralıktaki doğruluk"},
    "count_axis": {"en": "Images", "tr": "Görüntü"},
    "ece_is": {"en": "ECE = {ece} {interval}", "tr": "ECE = {ece} {interval}"},
    "gap": {"en": "gap to perfect calibration", "tr": "kusursuz kalibrasyona uzaklık"},
    "hits": {"en": "accuracy", "tr": "doğruluk"},
    "reliability_caption": {
        "en": "Accuracy of the test images in 15 equal bins of confidence (Guo et al. 2017), below their number; on "
        "the dashed diagonal confidence equals accuracy. Hatched: the gap; a bin under the diagonal is overconfident.",
        "tr": "15 eşit güven aralığındaki test görüntülerinin doğruluğu (Guo vd. 2017), altta sayıları; kesikli "
        "köşegende güven ile doğruluk eşittir. Taralı: aradaki fark; köşegenin altındaki aralıkta güven fazladır.",
    },
    "pooled": {
        "en": "The predictions of all seeds are pooled; ECE is the mean over the seeds.",
        "tr": "Bütün tohumların tahminleri bir arada; ECE tohumların ortalamasıdır.",
    },
    "confusion_figure": {
        "en": "Confusion matrices on the test part{about}",
        "tr": "Test bölümünde karışıklık matrisleri{about}",
    },
    "called_axis": {"en": "Called", "tr": "Tahmin"},
    "confusion_caption": {
        "en": "Test images by true class (rows) and called class (columns), threshold 0.5; below the number its share "
        "of the row, which the shade shows.",
        "tr": "Gerçek sınıfa (satır) ve tahmin edilen sınıfa (sütun) göre test görüntüleri, eşik 0,5; sayının altında "
        "satırdaki payı; gölge bu payı gösterir.",
    },
    "summed": {"en": "Counts are summed over {n} seeds.", "tr": "Sayılar {n} tohumun toplamıdır."},
}

FINDINGS: dict[str, dict[str, str]] = {
    "disclaimer": {
        "en": "These are results of a study. This is no medical device and must not be used for diagnosis.",
        "tr": "Bunlar bir çalışmanın sonuçlarıdır. Bu bir tıbbi cihaz değildir ve tanı için kullanılmamalıdır.",
    },
    "several_classes": {
        "en": "The data have {n} classes. Sensitivity, specificity, AUROC, calibration and confusion matrices are made "
        "for two here and are left out.",
        "tr": "Veride {n} sınıf var. Duyarlılık, özgüllük, AUROC, kalibrasyon ve karışıklık matrisleri burada iki "
        "sınıf içindir ve verilmiyor.",
    },
    "no_logits": {
        "en": "No run holds its test logits, so sensitivity, specificity, AUROC and calibration cannot be given.",
        "tr": "Hiçbir koşuda test logitleri yok; bu yüzden duyarlılık, özgüllük, AUROC ve kalibrasyon verilemiyor.",
    },
    # Overfitting
    "who": {"en": "{role}{about}", "tr": "{role}{about}"},
    "overfits": {
        "en": "{who}: overfits. Over the last {n} epochs the validation loss is {val} against {train} in training, and "
        "{rise} above its own lowest.",
        "tr": "{who}: aşırı öğreniyor. Son {n} epokta doğrulama kaybı {val}, eğitim kaybı {train}; doğrulama kaybı "
        "kendi en düşük değerinin {rise} üzerinde.",
    },
    "gap_only": {
        "en": "{who}: over the last {n} epochs the validation loss is {val} against {train} in training, which the "
        "report calls overfitting; but it lies only {rise} above its own lowest: training on has not hurt yet.",
        "tr": "{who}: son {n} epokta doğrulama kaybı {val}, eğitim kaybı {train}; rapor buna aşırı öğrenme diyor. Ama "
        "doğrulama kaybının kendi en düşük değerinden farkı yalnızca {rise}: uzun eğitim henüz zarar vermedi.",
    },
    "rise_only": {
        "en": "{who}: over the last {n} epochs the validation loss ({val}) is not above the training loss ({train}), "
        "but it is {rise} above its own lowest: unstable rather than overfitted.",
        "tr": "{who}: son {n} epokta doğrulama kaybı ({val}) eğitim kaybının ({train}) üzerinde değil, ama kendi en "
        "düşük değerinin {rise} üzerinde: aşırı öğrenmeden çok kararsızlık.",
    },
    "fits": {
        "en": "{who}: no sign of overfitting. Over the last {n} epochs the validation loss is {val} against {train} in "
        "training, {rise} above its own lowest.",
        "tr": "{who}: aşırı öğrenme belirtisi yok. Son {n} epokta doğrulama kaybı {val}, eğitim kaybı {train}; "
        "doğrulama kaybının kendi en düşük değerinden farkı {rise}.",
    },
    "few_epochs": {
        "en": "{who}: {n} epochs are too few to speak of overfitting.",
        "tr": "{who}: aşırı öğrenmeden söz etmek için epok sayısı ({n}) çok az.",
    },
    "loss_note": {
        "en": "A gap or rise counts from {share} of the validation loss on. Training losses are taken while training, "
        "with augmentation and dropout, so they are rather too high than too low.",
        "tr": "Fark ya da yükseliş, doğrulama kaybına oranı en az {share} ise sayılır. Eğitim kaybı eğitim sırasında, "
        "veri artırma ve dropout ile ölçülür; bu yüzden düşük değil, olsa olsa yüksek çıkar.",
    },
    # Differences
    "against_teacher": {
        "en": "Student with teacher minus its teacher{about}: {metrics}.",
        "tr": "Fark, öğretmenle öğrenci − öğretmen{about}: {metrics}.",
    },
    "against_alone": {
        "en": "Student with teacher minus student alone{about}: {metrics}.",
        "tr": "Fark, öğretmenle öğrenci − tek başına öğrenci{about}: {metrics}.",
    },
    "auroc": {"en": "AUROC {difference} {intervals}", "tr": "AUROC {difference} {intervals}"},
    "accuracy": {
        "en": "accuracy {difference} percentage points {intervals}",
        "tr": "doğruluk {difference} yüzde puanı {intervals}",
    },
    "over_units": {
        "en": "(95% bootstrap over {units}: {interval})",
        "tr": "({units} üzerinden %95 bootstrap: {interval})",
    },
    "over_seeds": {
        "en": "(95% bootstrap over {units}: {interval}; t-interval over {n} seeds: {seeds})",
        "tr": "({units} üzerinden %95 bootstrap: {interval}; {n} tohum üzerinden t aralığı: {seeds})",
    },
    "teacher_up": {
        "en": "The student beats its teacher here, above zero throughout in: {which}.",
        "tr": "Öğrenci burada öğretmenini geçiyor; bütünüyle sıfırın üzerinde olan: {which}.",
    },
    "teacher_down": {
        "en": "The student stays below its teacher here, below zero throughout in: {which}.",
        "tr": "Öğrenci burada öğretmeninin gerisinde; bütünüyle sıfırın altında olan: {which}.",
    },
    "teacher_mixed": {
        "en": "Better than the teacher in one and worse in the other: no verdict.",
        "tr": "Birinde öğretmenden iyi, diğerinde kötü: hüküm yok.",
    },
    "teacher_open": {
        "en": "The intervals hold zero: these data do not tell student and teacher apart.",
        "tr": "Aralıklar sıfırı içeriyor: bu veriler öğrenci ile öğretmeni ayırt etmeye yetmiyor.",
    },
    "alone_up": {
        "en": "The teacher helps the student here, above zero throughout in: {which}.",
        "tr": "Öğretmen burada öğrenciye yarar sağlıyor; bütünüyle sıfırın üzerinde olan: {which}.",
    },
    "alone_down": {
        "en": "The teacher hurts the student here, below zero throughout in: {which}.",
        "tr": "Öğretmen burada öğrenciye zarar veriyor; bütünüyle sıfırın altında olan: {which}.",
    },
    "alone_mixed": {
        "en": "Helped in one and hurt in the other: no verdict.",
        "tr": "Birinde yarar, diğerinde zarar: hüküm yok.",
    },
    "alone_open": {
        "en": "The intervals hold zero: whether the teacher helps stays open.",
        "tr": "Aralıklar sıfırı içeriyor: öğretmenin yararı olup olmadığı açık kalıyor.",
    },
    "which_auroc": {"en": "AUROC", "tr": "AUROC"},
    "which_accuracy": {"en": "accuracy", "tr": "doğruluk"},
    "and": {"en": " and ", "tr": " ve "},
    "one_seed": {
        "en": "Fewer than three seeds: these intervals hold the choice of test images alone; the spread between seeds "
        "is unknown, so a difference may be that of two initialisations.",
        "tr": "Üçten az tohum: bu aralıklar yalnızca test görüntülerinin seçimini içerir; tohumlar arası yayılım "
        "bilinmiyor, fark iki ilk değer ataması arasındaki fark olabilir.",
    },
    # Imbalance and calibration
    "imbalance": {
        "en": "Test images by class: {shares}. A constant answer “{larger}” reaches an accuracy of {constant}, but a "
        "balanced accuracy of {half} and an AUROC of {auroc}: plain accuracy says something only above {constant}.",
        "tr": "Sınıflara göre test görüntüleri: {shares}. Hep “{larger}” diyen sabit yanıtın doğruluğu {constant}, ama "
        "dengeli doğruluğu {half} ve AUROC değeri {auroc}: yalın doğruluk ancak bu düzeyin ({constant}) üzerinde bir "
        "şey söyler.",
    },
    "training_share": {
        "en": "Training images by class: {shares}.",
        "tr": "Sınıflara göre eğitim görüntüleri: {shares}.",
    },
    "balanced": {
        "en": "Accuracy and balanced accuracy{about}: {models}.",
        "tr": "Doğruluk ve dengeli doğruluk{about}: {models}.",
    },
    "balanced_one": {
        "en": "{role} {accuracy} and {balanced}",
        "tr": "{role} {accuracy} ve {balanced}",
    },
    "not_above": {
        "en": "Not shown to lie above the constant answer in accuracy{about}: {roles}.",
        "tr": "Doğrulukta sabit yanıtın üzerinde olduğu gösterilemeyen{about}: {roles}.",
    },
    "calibration": {"en": "Calibration{about}: {models}.", "tr": "Kalibrasyon{about}: {models}."},
    "calibration_one": {
        "en": "{role} {verdict} (mean confidence {confidence}, accuracy {accuracy}, ECE {ece} {interval}, Brier score "
        "{brier})",
        "tr": "{role} {verdict} (ortalama güven {confidence}; doğruluk {accuracy}; ECE {ece} {interval}; Brier puanı "
        "{brier})",
    },
    "over": {"en": "is overconfident on average", "tr": "ortalamada kendine fazla güveniyor"},
    "under": {"en": "is underconfident on average", "tr": "ortalamada kendine az güveniyor"},
    "even": {"en": "is on average as sure as it is right", "tr": "ortalamada doğruluğu kadar emin"},
}


def both(key: str, **values: Any) -> dict[str, str]:
    """A text of BOOK in both languages; a value that depends on the language is a function of it."""
    return {
        lang: pick(BOOK, key, lang, **{k: v(lang) if callable(v) else v for k, v in values.items()}) for lang in LANGS
    }
