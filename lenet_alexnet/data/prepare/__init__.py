"""`lenet-alexnet data prepare`: from the files that people have to records that training reads."""
