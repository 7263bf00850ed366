"""The fields of the tasks section; see `fields`."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class TasksConfig:
    """Auxiliary tasks besides next-item recommendation, each a loss with a weight. See docs/tasks.md."""

    rating: Literal["none", "mse", "ordinal"] = "none"
    """Predict the rating that a user gives to the next item.
    none: ratings are not predicted.
    mse: squared error.
    ordinal: a threshold between each two neighbouring ratings; for a scale with few steps."""
    rating_weight: float = 0.1
    """Weight of the loss of tasks.rating relative to the ranking loss."""
    knowledge_graph: Literal["none", "transe", "complex"] = "none"
    """Learn the facts of the knowledge graph (kg.tsv), whose heads are the items: which tail a relation has.
    none: facts are not learned.
    transe: a relation is a translation from item vectors to tails (TransE).
    complex: a relation is a diagonal complex matrix (ComplEx); needs an even model.width.
    Each step reads 512 facts of any items, which are encoded too.
    5 % of the facts are held out, for link prediction in the report."""
    knowledge_graph_weight: float = 0.1
    """Weight of the loss of tasks.knowledge_graph relative to the ranking loss."""
    click_weight: float = 0.0
    """Weight of predicting which items of a list that was shown are clicked; 0: off.
    The lists are the rows of interactions.csv with the same impression_id; those with action=click are the clicks."""
    language_model_weight: float = 0.0
    """Weight of predicting the tokens of item texts: masked ones with BERT, each next one with GPT-2; 0: off.
    It needs an encoder that is trained (encoder.mode=lora or full). 5 % of the texts, at most 1,000, are held out."""
    language_model_texts: int = 64
    """About how many texts of the batch a step predicts tokens of. They are encoded a second time."""
    weighting: Literal["fixed", "uncertainty", "pcgrad"] = "fixed"
    """How the ranking loss and those of the tasks are added.
    fixed: each times its weight.
    uncertainty: each also divided by a variance, which is learned (Kendall et al.).
    pcgrad: where gradients of two tasks conflict, each loses its part against the other; a backward pass per task."""
    log_conflicts: bool = False
    """Log the cosine between the gradient of each task and that of the ranking loss as conflict/TASK.
    It costs a backward pass per task; with weighting=pcgrad it is always logged."""
