"""Compiled dispatch: primitives by number, one function for each kind of primitive.

A number is a position in a tuple here and in the tuple of that kind in `primitives`. Each kernel
has its primitive's name; a test compares the names, and what a number computes.
"""

from __future__ import annotations

import numpy as np

from solver.synth.grids import kernels_color as kc
from solver.synth.grids import kernels_fill as kf
from solver.synth.grids import kernels_frame as kr
from solver.synth.grids import kernels_list as kl
from solver.synth.grids import kernels_sized as ks
from solver.synth.jit import kernel

IMAGE = (
    kc.keep_color,
    kc.erase_color,
    kc.negative,
    kc.keep_ranked,
    kc.paint_ranked,
    kc.ground_swap,
    kc.swap_two,
    kc.solid,
    kc.one_cell,
    kc.color_row,
    kc.count_drawn,
    kr.turned,
    kr.crop,
    kr.to_origin,
    kr.color_box,
    kr.part,
    kr.framed,
    kr.squeeze,
    kr.scale_up,
    kr.scale_down,
    kr.tile,
    kr.kaleidoscope,
    kr.self_copies,
    kr.shifted,
    kr.moved,
    kr.sorted_lines,
    kr.falling,
    kf.filled,
    kf.hull,
    kf.rim,
    kf.smear,
    kf.full_lines,
    kf.connected,
    kf.spread,
    kf.flooded,
    kf.sized_parts,
    kf.smoothed,
    kf.mirrored,
    kf.mirrored_best,
    kf.periodic,
    kf.largest_rectangle,
)
SIZED = (
    ks.placed,
    ks.reflowed,
    ks.stretched,
    ks.repeated,
    ks.go_on,
    ks.color_frame,
)
PAIR = (
    ks.with_input,
    ks.input_there,
    ks.input_times,
)
SPLIT = (
    kl.split_colors,
    kl.split_parts,
    kl.split_lines,
    kl.split_even,
    kl.split_strips,
    kl.split_holes,
    kl.split_marked,
)
JOIN = (
    kl.draw_all,
    kl.stacked,
    kl.combined,
    kl.overview,
    kl.list_count,
)


@kernel
def image_op(code, a, y, x, arg, out):
    """Image to image."""
    if code == 0:
        return kc.keep_color(a, y, x, arg, out)
    if code == 1:
        return kc.erase_color(a, y, x, arg, out)
    if code == 2:
        return kc.negative(a, y, x, arg, out)
    if code == 3:
        return kc.keep_ranked(a, y, x, arg, out)
    if code == 4:
        return kc.paint_ranked(a, y, x, arg, out)
    if code == 5:
        return kc.ground_swap(a, y, x, arg, out)
    if code == 6:
        return kc.swap_two(a, y, x, arg, out)
    if code == 7:
        return kc.solid(a, y, x, arg, out)
    if code == 8:
        return kc.one_cell(a, y, x, arg, out)
    if code == 9:
        return kc.color_row(a, y, x, arg, out)
    if code == 10:
        return kc.count_drawn(a, y, x, arg, out)
    if code == 11:
        return kr.turned(a, y, x, arg, out)
    if code == 12:
        return kr.crop(a, y, x, arg, out)
    if code == 13:
        return kr.to_origin(a, y, x, arg, out)
    if code == 14:
        return kr.color_box(a, y, x, arg, out)
    if code == 15:
        return kr.part(a, y, x, arg, out)
    if code == 16:
        return kr.framed(a, y, x, arg, out)
    if code == 17:
        return kr.squeeze(a, y, x, arg, out)
    if code == 18:
        return kr.scale_up(a, y, x, arg, out)
    if code == 19:
        return kr.scale_down(a, y, x, arg, out)
    if code == 20:
        return kr.tile(a, y, x, arg, out)
    if code == 21:
        return kr.kaleidoscope(a, y, x, arg, out)
    if code == 22:
        return kr.self_copies(a, y, x, arg, out)
    if code == 23:
        return kr.shifted(a, y, x, arg, out)
    if code == 24:
        return kr.moved(a, y, x, arg, out)
    if code == 25:
        return kr.sorted_lines(a, y, x, arg, out)
    if code == 26:
        return kr.falling(a, y, x, arg, out)
    if code == 27:
        return kf.filled(a, y, x, arg, out)
    if code == 28:
        return kf.hull(a, y, x, arg, out)
    if code == 29:
        return kf.rim(a, y, x, arg, out)
    if code == 30:
        return kf.smear(a, y, x, arg, out)
    if code == 31:
        return kf.full_lines(a, y, x, arg, out)
    if code == 32:
        return kf.connected(a, y, x, arg, out)
    if code == 33:
        return kf.spread(a, y, x, arg, out)
    if code == 34:
        return kf.flooded(a, y, x, arg, out)
    if code == 35:
        return kf.sized_parts(a, y, x, arg, out)
    if code == 36:
        return kf.smoothed(a, y, x, arg, out)
    if code == 37:
        return kf.mirrored(a, y, x, arg, out)
    if code == 38:
        return kf.mirrored_best(a, y, x, arg, out)
    if code == 39:
        return kf.periodic(a, y, x, arg, out)
    if code == 40:
        return kf.largest_rectangle(a, y, x, arg, out)
    return kc.FAIL


@kernel
def sized_op(code, a, y, x, arg, th, tw, out):
    """Image and size to image."""
    if code == 0:
        return ks.placed(a, y, x, arg, th, tw, out)
    if code == 1:
        return ks.reflowed(a, y, x, arg, th, tw, out)
    if code == 2:
        return ks.stretched(a, y, x, arg, th, tw, out)
    if code == 3:
        return ks.repeated(a, y, x, arg, th, tw, out)
    if code == 4:
        return ks.go_on(a, y, x, arg, th, tw, out)
    if code == 5:
        return ks.color_frame(a, y, x, arg, th, tw, out)
    return kc.FAIL


@kernel
def pair_op(code, a, y, x, arg, b, out):
    """Image and input to image."""
    if code == 0:
        return ks.with_input(a, y, x, arg, b, out)
    if code == 1:
        return ks.input_there(a, y, x, arg, b, out)
    if code == 2:
        return ks.input_times(a, y, x, arg, b, out)
    return kc.FAIL


@kernel
def split_op(code, a, y, x, arg, out, boxes):
    """Image to list; the number of images."""
    if code == 0:
        return kl.split_colors(a, y, x, arg, out, boxes)
    if code == 1:
        return kl.split_parts(a, y, x, arg, out, boxes)
    if code == 2:
        return kl.split_lines(a, y, x, arg, out, boxes)
    if code == 3:
        return kl.split_even(a, y, x, arg, out, boxes)
    if code == 4:
        return kl.split_strips(a, y, x, arg, out, boxes)
    if code == 5:
        return kl.split_holes(a, y, x, arg, out, boxes)
    if code == 6:
        return kl.split_marked(a, y, x, arg, out, boxes)
    return 0


@kernel
def join_op(code, pix, items, n, arg, out):
    """List to image."""
    if code == 0:
        return kl.draw_all(pix, items, n, arg, out)
    if code == 1:
        return kl.stacked(pix, items, n, arg, out)
    if code == 2:
        return kl.combined(pix, items, n, arg, out)
    if code == 3:
        return kl.overview(pix, items, n, arg, out)
    if code == 4:
        return kl.list_count(pix, items, n, arg, out)
    return kc.FAIL


@kernel
def chosen(pix, items, n, arg, keep):
    """Choose from a list: keep (bool, n) is filled, its number of True returned.

    arg = measure * 2 + (0 largest, 1 smallest) for the arg below `32`; every image with that
    extreme value is kept. arg 32 + k keeps image k, 48 + k image k from the end; 64 keeps the
    first of each set of equal cells; 66 keeps symmetric images.
    """
    for k in range(n):
        keep[k] = False
    if arg >= 64:
        value = np.empty(n, np.int64)
        if arg == 64:
            return kl.distinct(pix, items, n, keep)
        kl.measure(pix, items, n, np.int64(10), value)
        count = 0
        for k in range(n):
            keep[k] = value[k] > 0
            count += value[k] > 0
        return count
    if arg >= 32:
        k = arg - 32 if arg < 48 else n - 1 - (arg - 48)
        if k < 0 or k >= n:
            return 0
        keep[k] = True
        return 1
    value = np.empty(n, np.int64)
    kl.measure(pix, items, n, arg // 2, value)
    best = value[0]
    for k in range(n):
        best = min(best, value[k]) if arg % 2 else max(best, value[k])
    count = 0
    for k in range(n):
        keep[k] = value[k] == best
        count += value[k] == best
    return count
