"""Who is in the data: labels of each rater, groups, and what became of everybody who stands in a file."""

import numpy as np
import pandas as pd

from raterhf.data.labels import Labels


def who(labels: Labels) -> dict:
    """Raters, labels of each, shares, groups; `accounted` names everybody in the files once, by what became of them."""
    people = labels.raters
    ids = pd.concat([labels.comparisons["rater_id"], labels.demonstrations["rater_id"]])
    n = ids.value_counts()  # most labels first
    n = n.sort_index(kind="stable").sort_values(ascending=False, kind="stable")
    return {
        "raters": len(n), "labels": int(n.sum()),
        "labels_per_rater": {"min": int(n.min()), "median": float(n.median()), "max": int(n.max())},
        "counts": n.to_numpy().tolist(),
        "largest": {"rater": str(n.index[0]), "labels": int(n.iloc[0]), "share": float(n.iloc[0] / n.sum())},
        "one_label": sorted(n.index[n == 1]),
        "half_of_labels": int(np.searchsorted(np.cumsum(n.to_numpy()), n.sum() / 2) + 1),
        "groups": _sizes(people["group"]), "personas": _sizes(people["persona"]),
        "accounted": accounted(labels, set(n.index)),
    }  # fmt: skip


def accounted(labels: Labels, labelled: set[str]) -> dict[str, list[str]]:
    """Everybody in the files, by what became of them; lists of IDs, each ID in one list.

    train and validate have labels that are used; of the others see `notices.account`; listed stand in the raters file alone.
    """
    people, fates = labels.raters, labels.counts["raters"]["accounted"]
    found = {part: sorted(set(people["rater_id"][people["split"] == part]) & labelled) for part in ("train", "validate")}
    found |= {name: ids for name, ids in fates.items() if isinstance(ids, list)}
    return found | {"listed": sorted(set(people["rater_id"]) - labelled - {rater for ids in found.values() for rater in ids})}


def _sizes(names: pd.Series) -> dict[str, int]:
    return {str(name): int(n) for name, n in names.value_counts().items()}
