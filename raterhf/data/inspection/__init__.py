"""What is in rater-labelled data, and what it can teach: figures for `raterhf data check`, whatever is trained with it afterwards."""
