"""What the findings of pruning studies say, in English and Turkish; no suffix follows a number or a name."""

from __future__ import annotations

from kdlib.reporting.i18n import N_

FINDINGS = {
    "original": N_("The original {model}, unpruned: test accuracy {accuracy}."),
    "worth_seeds": N_("95% paired t-interval over {n} seeds {interval}: {verdict}."),
    "worth_images": N_("95% bootstrap interval over the {n} test images {interval}: {verdict}."),
    "worth_none": N_("Whether this is more than noise is not known: the runs of the two do not pair."),
    "seeds_up": N_("above zero, beyond the noise between seeds"),
    "seeds_down": N_("below zero, beyond the noise between seeds"),
    "seeds_open": N_("it holds zero, these seeds do not tell an effect from noise"),
    "images_up": N_("above zero, as far as the test images go"),
    "images_down": N_("below zero, as far as the test images go"),
    "images_open": N_("it holds zero, the test images alone leave the sign open"),
    "intervals_seeds": N_("95% paired t-intervals over {n} seeds"),
    "intervals_images": N_("95% bootstrap intervals over the {n} test images"),
    "intervals_none": N_("no intervals"),
    "report_same": N_("The report{at} has {name} first as well ({accuracy})."),
    "report_shared": N_("The report{at} has {name} first ({accuracy}), which shares the first place here."),
    "report_other": N_(
        "The report{at} has {name} first ({accuracy}); here its place is {place} of {count}, with {ours}."
    ),
    "report_absent": N_("The report{at} has {name} first ({accuracy}), which has no runs here."),
    "at_equal_ratio": N_(", at equal ratio,"),
    "not_above": N_("Not above random: {names}."),
    "in_report": N_("{value} (report {reported})"),
    "distilled": N_(
        "{setting}: fine-tuning with the original as teacher minus plain fine-tuning, mean over "
        "{count} criteria {difference} points; {above} of {count} gain."
    ),
    "scopes_size": N_(
        "Averaged over them, size changes by {first} with global pruning and by {second} layer by layer."
    ),
    "report_list": N_("The report: {items}."),
    "one_original": N_("Each original is one training, whose own chance is not in this."),
    "report_networks": N_("The report: {first_name} {first}; {second_name} {second}."),
    "other_images": N_("Study {study} was not tested on the same images: no difference is given."),
    "latency": N_("Latency, batch of {n}, {setting}: the original takes {original} ms {quartiles}. {parts}."),
    "faster": N_("Faster, quartiles apart: {items}"),
    "no_gain": N_("No gain, quartiles overlap: {items}"),
    "slower": N_("Slower, quartiles apart: {items}"),
    "small_images": N_("images of {here} leave a layer so little arithmetic that its fixed cost weighs most; "),
    "none_slower": N_(
        "No pruned network is slower than the original beyond the quartiles: no sign of anything "
        "left on them that costs time."
    ),
    "some_slower": N_("Slower than the original beyond the quartiles: {items}."),
    "slower_item": N_("{name} (batch of {n}, {setting})"),
    "report_slow": N_("Latency as a multiple of the original's, batch of 1: {items}."),
    "collapse": N_(
        "Squeeze-excite bottlenecks left open, {setting}: a layer collapses, {channels} channels ({name}, {layer})."
    ),
    "narrowest": N_(
        "Squeeze-excite bottlenecks left open, {setting}: no layer collapses; the narrowest keeps "
        "{channels} channels ({name}, {layer})."
    ),
    "when_protected": N_("Protected, the narrowest has {channels} ({name}, {layer})."),
    "protected_gap": N_("Protected minus open, mean over {count} criteria: {difference} points."),
}
