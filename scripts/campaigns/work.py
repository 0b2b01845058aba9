"""One process of a campaign: `python -m campaigns.work NAME SEED BEGIN END`.

It writes a line of JSON to standard output for each case, as soon as it is judged. Whatever the
cases print is discarded.
"""

import json
import os
import sys
import warnings


def main(name: str, seed: str, begin: str, end: str) -> None:
    from campaigns.table import CAMPAIGNS  # not in the processes that `kills` forks

    lines = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    warnings.simplefilter("ignore")

    def report(result: tuple[str, str]) -> None:
        print(json.dumps(result), file=lines, flush=True)

    CAMPAIGNS[name].run(int(seed), range(int(begin), int(end)), report)


if __name__ == "__main__":
    main(*sys.argv[1:])
