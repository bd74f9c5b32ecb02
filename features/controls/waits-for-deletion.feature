@control @kubernetes @gate
Feature: Control: a DaemonSet is undone and no pod is renewed

  Undo brings back what the DaemonSet says of its pods. They are renewed when somebody deletes them, and nobody
  does.

  Background:
    Given the service "nodewatch"
    And 40 journeys per second by 20 users

  Scenario: The pods keep the bad release
    When release "v2-reads-swap" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "waits-for-deletion"
    Then the drill fails because "every instance serves the target release"
