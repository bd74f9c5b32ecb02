@control @kubernetes @gitops @gate
Feature: Control: kubectl rollout undo under self-heal

  Undo changes the cluster, and the repository is what counts: Argo CD puts the bad release back within a second,
  while the command reports that it has rolled back.

  Background:
    Given the service "booth"
    And 40 journeys per second by 20 users

  Scenario: The controller undoes the undo
    When release "v2-francs-only" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "undoes-the-deployment"
    Then the drill fails because "every instance serves the target release"
