"""shards: a run over several machines: the coordinator, and the worker of one shard."""
