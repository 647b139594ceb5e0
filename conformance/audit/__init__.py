"""The tester tested: mutation score, soak."""
