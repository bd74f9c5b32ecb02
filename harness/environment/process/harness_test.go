package process

func runHarness() {}
