"""`lenet-alexnet data prepare`: converts the user's files to the records that training reads."""
