"""Near copies share their credit, a modifier that looks for them in a graph of completions."""

from itertools import combinations, pairwise

import anypo.functional as F
import networkx as nx
from anypo import Plugin, hookimpl
from pydantic import Field


class Distinct(Plugin):
    """Completions of a group that say nearly the same count as one, so that others are heard."""

    distinct_overlap: float = Field(
        0.5, gt=0, le=1, description="Completions are copies that share so many of their bigrams."
    )

    @hookimpl(wrapper=True)
    def advantage(self, batch):
        """A_i / n_i, n_i the completions of the group that copies connect with y_i; [N, T]."""
        advantages, others = F.split_advantages((yield), batch.mask)
        copies = advantages.new_tensor(self.copies(batch))
        return {**others, "advantages": advantages / copies.unsqueeze(-1)}

    def copies(self, batch):
        """For every row the size of its cluster."""
        said, groups = bigrams(batch), batch.group.tolist()
        graph = nx.empty_graph(len(batch))
        graph.add_edges_from(
            (i, j)
            for i, j in combinations(range(len(batch)), 2)
            if groups[i] == groups[j] and overlap(said[i], said[j]) >= self.distinct_overlap
        )
        sizes = {row: len(rows) for rows in nx.connected_components(graph) for row in rows}
        return [sizes[row] for row in range(len(batch))]


def bigrams(batch):
    """The pairs of neighbours among the tokens that the policy wrote, for each row."""
    ids, mask = batch.input_ids.tolist(), batch.mask.tolist()
    starts = batch.prompt_lengths.tolist()
    written = (
        [token for token, mine in zip(row[start:], own, strict=False) if mine]
        for row, start, own in zip(ids, starts, mask, strict=True)
    )
    return [set(pairwise([None, *tokens])) for tokens in written]


def overlap(some, others):
    """The share of what either has that both have."""
    return len(some & others) / max(1, len(some | others))
