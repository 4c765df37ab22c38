from ecsbatch.store.conflicts import RunExists as RunExists
