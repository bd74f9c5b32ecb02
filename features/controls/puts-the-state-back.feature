@control @infrastructure @opentofu
Feature: Control: a state that is put back

  The previous configuration is committed again, and the state is the one of before. OpenTofu says that nothing is left to
  be done; the new prices are in force.

  Background:
    Given the service "buffet"
    And 40 journeys per second by 20 users

  Scenario: The state is put back from its backup
    When release "v2-misprints" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "puts-the-state-back"
    Then the drill fails because "every instance serves the target release"
