"""Write the reference pages and the picture of the rooms from the code: `make reference`."""
