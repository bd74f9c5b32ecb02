@control @kubernetes @gitops @gate
Feature: Control: auto-sync is turned on again before the repository is back

  Argo CD's own rollback leaves the repository as it is. Auto-sync, once it is on again, applies what lies there:
  the bad release.

  Background:
    Given the service "booth"
    And 40 journeys per second by 20 users

  Scenario: The bad release comes back
    When release "v2-francs-only" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "turns-it-on-again"
    Then the drill fails because "every instance serves the target release"
