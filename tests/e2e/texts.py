"""What the scripted model says where a person may look at it: pictures for the documentation show these."""

TIDES = """\
The tides follow the **Moon**, and to a lesser degree the Sun.

1. The Moon pulls the near side of the Earth more strongly than its centre, and the centre more than the far side.
2. So the water is stretched into two bulges, and the Earth turns below them: two high tides a day.
3. Sun and Moon pull together at new and full moon, which makes *spring tides*.

| tide | when | range |
|---|---|---|
| spring | new and full moon | large |
| neap | half moon | small |

The pull falls with the cube of the distance, $F \\propto \\frac{M}{r^3}$, so the near Moon wins over the heavy Sun.
"""

INTERVALS = """\
Sort by the beginning, then join each interval to the last one where they touch:

```python
def merge(intervals):
    merged = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return merged
```

It takes `O(n log n)` time, which is the sorting's.
"""

FERRY = """\
# Ferry to Heron Island

The ferry leaves Alder Quay at 07:40 and 16:10 every day except Monday.
The crossing takes 55 minutes. A return ticket costs 18 euros.

# Bicycles

Bicycles travel free of charge, but there are only twelve places for them.
"""

TUNNEL = (
    "The line climbs for an hour along the river, and where the valley ends it goes into the mountain. The tunnel is"
    " fifteen kilometres long and was dug from both sides for ten years. When the two parties met in the middle, their"
    " axes were less than a hand's breadth apart. Inside it is always twelve degrees, summer and winter, and in the old"
    " days the stokers lay down on the floor of the engine, where there was some air left. Today the train needs nine"
    " minutes, the lights go on, and whoever is on the telephone says the same sentence, that there is a tunnel coming."
)

# Of long answers.
PART = """\
## Part {n}

The stream of answer {n} is kept, so a reader who *lost* it finds **all** of it again, `after` any cursor.

- one item of part {n}
- and another, with [a link](https://example.com/{n})

```python
def part_{n}(value: int) -> int:
    return value * {n}  # as told above
```

| n | square |
|--:|---:|
| {n} | ${n}^2$ |

"""


def long_answer(tokens: int = 50_000) -> str:
    """About 4 characters a token."""
    parts: list[str] = []
    length = 0
    while length < tokens * 4:
        parts.append(PART.format(n=len(parts)))
        length += len(parts[-1])
    return "".join(parts)
