# recipes: nobase_dist_pkgdata_DATA += recipes/PATH.yaml
