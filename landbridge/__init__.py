"""landbridge: a model that learned on a labelled source domain, adapted to an unlabelled target domain."""
