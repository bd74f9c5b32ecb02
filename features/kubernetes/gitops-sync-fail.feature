@kubernetes @gitops @gate
Feature: A sync that fails reverts its own commit

  Argo CD has no rollback of its own when a sync fails. Teams give it a hook: a check buys tickets when all pods are
  new, and when that fails a Job reverts the commit and pushes. Nobody is called; the plan is to watch.

  Background:
    Given the service "booth"
    And 40 journeys per second by 20 users

  Scenario: The hook of the failed sync reverts the commit
    When release "v2-checked" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
