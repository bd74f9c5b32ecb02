@control @people @gate
Feature: Control: a first notice that comes when it is over

  The rollback is right, and stakeholders hear of it when its last command has returned.

  Background:
    Given the service "ferry"
    And 20 journeys per second by 20 users

  Scenario: Nobody is told while it matters
    When release "v2-quotes-currency" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "tells-them-afterwards"
    Then the first notice goes out within 2 seconds
    Then the drill fails because "the first notice goes out in time"
