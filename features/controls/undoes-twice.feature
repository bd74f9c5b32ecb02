@control @kubernetes @gate
Feature: Control: kubectl rollout undo, run again to be sure

  Undo goes back to the revision before the one of now. After a first undo that is the bad release: the second goes
  forward.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: The second undo brings the bad release
    When release "v2-misprints" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "undoes-twice"
    Then the drill fails because "every instance serves the target release"
