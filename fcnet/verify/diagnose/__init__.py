"""Why a gradient is wrong: the lines of Algorithm 5, or the arrays of any other function.

From a wrong gradient of a network to the findings, module by module:

- `causes` looks for what explains all numbers at once: training `steps` that are none or not asked
  for, `dropout`, numbers in other `places`, one of the `slips` on the way forward, another of the
  `descriptions` of the network, a weight `decay`. Else a line is wrong.
- `blame` compares single examples and batches, and words a finding for each wrong line.
- `search` goes from the output down, and chooses on each layer what explains its lines best.
- `single` and `batch` compute each `line` from the candidate's own numbers upstream.
- `explain` tries the table of `mistakes` on a wrong line, and else describes its `pattern`.

Of any other function only the arrays are known: `arrays` compares each with the right one.
"""
