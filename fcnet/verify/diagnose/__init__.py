"""Why a gradient is wrong: the lines of Algorithm 5, or the arrays of any other function."""
