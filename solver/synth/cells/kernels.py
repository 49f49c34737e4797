"""Compiled search for vocabularies and clauses over bit vectors, for `cells.learn`.

A literal is a test or its negation. Its code is 2 * test + (1 if negated); -1 is no literal. A
set of cells is a row of 64-bit words.
"""

from __future__ import annotations

import numpy as np

from solver.synth.jit import kernel


@kernel
def covers(wrong, size, limit):
    """Minimal sets of `size` leaves of which at least one is right at every cell.

    Returns at most `limit` sets as leaf indices (n, 6), padded by -1. Only the first (cheapest)
    leaves are tried, and at most 300,000 sets.
    """
    n = min(len(wrong), (200, 200, 100, 30, 14, 10)[size - 1])
    found = np.full((limit, 6), -1, np.int64)
    count = 0
    index = np.arange(6)
    if n < size:
        return found[:0]
    steps = 0
    while count < limit and steps < 300000:
        steps += 1
        covered = True
        for k in range(wrong.shape[1]):
            word = wrong[index[0], k]
            for i in range(1, size):
                word &= wrong[index[i], k]
            if word:
                covered = False
                break
        if covered and _all_needed(wrong, index, size):
            found[count, :size] = index[:size]
            count += 1
        i = size - 1
        while i >= 0 and index[i] == n - size + i:
            i -= 1
        if i < 0:
            break
        index[i] += 1
        for j in range(i + 1, size):
            index[j] = index[j - 1] + 1
    return found[:count]


@kernel
def _all_needed(wrong, index, size):
    for out in range(size):
        needed = False
        for k in range(wrong.shape[1]):
            word = ~np.uint64(0) if size > 1 else np.uint64(1)
            for i in range(size):
                if i != out:
                    word &= wrong[index[i], k]
            if word:
                needed = True
                break
        if not needed:
            return False
    return True


@kernel
def separators(bits, costs, must, never, slack, limit):
    """Conjunctions of up to three literals that hold on all of `must` and none of `never`.

    Returns codes (n, 3) and costs (n,) of at most `limit` conjunctions, up to `slack` bits above
    the cheapest found so far. Single literals are tried first, then pairs. Triples are tried only
    if there are no singles and no pairs. `bits` (T, words) must be sorted by `costs`.
    """
    most = 1000
    code = np.empty(most, np.int64)
    price = np.empty(most)
    rest = np.empty((most, len(must)), np.uint64)
    found = np.full((limit, 3), -1, np.int64)
    cost = np.empty(limit)
    n, count, bound = _singles(bits, costs, must, never, slack, code, price, rest, found, cost)
    for i in range(n):
        if 2 * price[i] + 1.0 > bound:
            break
        for j in range(i + 1, n):
            p = price[i] + price[j] + 1.0
            if p > bound:
                break
            if _disjoint(rest[i], rest[j]) and count < limit:
                found[count, 0], found[count, 1], cost[count] = code[i], code[j], p
                count += 1
                bound = min(bound, p + slack)
    if count == 0:
        count = _triples(code, price, rest, min(n, 150), slack, found, cost)
    return found[:count], cost[:count]


@kernel
def _singles(bits, costs, must, never, slack, code, price, rest, found, cost):
    # Literals that hold on all of `must`. Sufficient literals go to `found`; the other useful
    # literals are kept in `code`, with the cells of `never` where they hold in `rest`.
    n, count, bound = 0, 0, 1e9
    for t in range(len(bits)):
        for negated in range(2):
            if n == len(code):
                break
            flip = ~np.uint64(0) if negated else np.uint64(0)
            holds, helps, solves = True, False, True
            for k in range(len(must)):
                lit = bits[t, k] ^ flip
                if must[k] & ~lit:
                    holds = False
                    break
                left = never[k] & lit
                helps |= left != never[k]
                solves &= left == 0
                rest[n, k] = left
            p = costs[t] + 0.5 * negated
            if holds and solves and count < len(found) and p <= bound:
                found[count, 0], cost[count] = 2 * t + negated, p
                count += 1
                bound = min(bound, p + slack)
            elif holds and helps and not solves:
                code[n], price[n] = 2 * t + negated, p
                n += 1
    return n, count, bound


@kernel
def _triples(code, price, rest, n, slack, found, cost):
    count, bound = 0, 1e9
    both = np.empty(rest.shape[1], np.uint64)
    for i in range(n):
        for j in range(i + 1, n):
            for k in range(rest.shape[1]):
                both[k] = rest[i, k] & rest[j, k]
            for m in range(j + 1, n):
                p = price[i] + price[j] + price[m] + 2.0
                if p > bound:
                    break
                if _disjoint(both, rest[m]) and count < len(found):
                    found[count, 0], found[count, 1] = code[i], code[j]
                    found[count, 2], cost[count] = code[m], p
                    count += 1
                    bound = min(bound, p + slack)
    return count


@kernel
def _disjoint(a, b):
    k = 0
    while k < len(a) and a[k] & b[k] == 0:
        k += 1
    return k == len(a)


@kernel
def region_of(bits, codes):
    """The cells where a conjunction of literals holds, (words,)."""
    region = np.full(bits.shape[1], ~np.uint64(0))
    for code in codes:
        if code >= 0:
            flip = ~np.uint64(0) if code % 2 else np.uint64(0)
            for k in range(len(region)):
                region[k] &= bits[code // 2, k] ^ flip
    return region


@kernel
def all_right(bits, rows, wrong, wrong_default):
    """For each conjunction (n, 3): True if no cell is coloured wrongly, (n,).

    The conjunction must hold on no cell of `wrong`, and must hold on all of `wrong_default`.
    """
    hits = np.ones(len(rows), np.bool_)
    for i in range(len(rows)):
        for k in range(len(wrong)):
            if wrong[k] == 0 and wrong_default[k] == 0:
                continue
            region = ~np.uint64(0)
            for code in rows[i]:
                if code >= 0:
                    flip = ~np.uint64(0) if code % 2 else np.uint64(0)
                    region &= bits[code // 2, k] ^ flip
            if region & wrong[k] or ~region & wrong_default[k]:
                hits[i] = False
                break
    return hits


@kernel
def fingerprints(bits, rows, valid, start):
    """A hash of the cells where each clause holds, over the words from `start`, (n,)."""
    prints = np.zeros(len(rows), np.uint64)
    for i in range(len(rows)):
        code_hash = np.uint64(1469598103934665603)
        for k in range(start, bits.shape[1]):
            region = valid[k]
            for code in rows[i]:
                if code >= 0:
                    flip = ~np.uint64(0) if code % 2 else np.uint64(0)
                    region &= bits[code // 2, k] ^ flip
            code_hash = (code_hash ^ region) * np.uint64(1099511628211)
            code_hash ^= code_hash >> np.uint64(29)
        prints[i] = code_hash
    return prints
