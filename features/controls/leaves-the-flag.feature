@control @together @gate
Feature: Control: one service is rolled back and another is not

  The flag's step fails, and the plan says that this holds nobody up. Diner is rolled back and cafe is not.

  Background:
    Given the service "diner"
    And 40 journeys per second by 20 users

  Scenario: The flag stays on
    When release "v2-tables" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "leaves-the-flag"
    Then the drill fails because "every service serves its target release"
