"""Which of two dialects a training is made with: does it matter? Trainings paired over seeds, an equivalence test."""
