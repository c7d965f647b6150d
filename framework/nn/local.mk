# framework/nn: see the list of variables at the top of Makefile.am
