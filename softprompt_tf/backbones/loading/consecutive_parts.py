"""Divide a row of sizes into consecutive parts, such as layers among devices."""

from functools import cache


def consecutive_parts(sizes: tuple[int, ...], parts: int) -> tuple[int, ...]:
    """Return where each of so many consecutive parts ends, so that the largest part is as small as possible."""

    @cache
    def best(start: int, parts: int) -> tuple[int, tuple[int, ...]]:
        if parts == 1:
            return sum(sizes[start:]), (len(sizes),)
        found = []
        for end in range(start + 1, len(sizes) - parts + 2):
            largest, ends = best(end, parts - 1)
            found.append((max(sum(sizes[start:end]), largest), (end, *ends)))
        return min(found)

    return best(0, parts)[1]
