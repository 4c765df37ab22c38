from ecsbatch.store.targets import targets_hash as targets_hash
