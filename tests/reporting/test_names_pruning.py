"""How pruned models are called in a text, and whose epochs are told apart."""

from pruning_data import results

from kdlib.reporting.core import names


def test_pruned_models_by_criterion_and_amount():
    found = results()
    where = {"role": "distilled", "model": "efficientnet_b4", "recipe": "finetune", "criterion": "taylor"}
    at = {**where, "ratio": 0.1, "macs": None}
    assert names.described(found, at, "en") == "EfficientNet-B4, distilled, Taylor, 10% of channels"
    assert names.described(found, at, "tr") == "EfficientNet-B4, damıtılmış, Taylor, budama oranı %10"
    kept = {**where, "ratio": None, "macs": 0.85, "role": "finetuned"}
    assert names.described(found, kept, "en") == "EfficientNet-B4, fine-tuned, Taylor, 85% of its MACs kept"
    whole = {**where, "role": "original", "recipe": "original", "criterion": None}
    assert names.described(found, whole, "tr") == "EfficientNet-B4, orijinal"


def test_the_recipe_of_the_original_is_no_column():
    assert names.recipes(results()) == ["finetune"]
