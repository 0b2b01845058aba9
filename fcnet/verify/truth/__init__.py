"""What is right: the reference by autodiff in float64, and what rounding and kinks allow."""
